"""Tests of expression tables."""
