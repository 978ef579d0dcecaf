"""Tests of the workflows, on one finished run of a small simulated study."""
