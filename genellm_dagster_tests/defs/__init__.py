"""Tests of the Dagster side: what a whole run records, checks, partitions."""
