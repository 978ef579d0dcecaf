"""Tests of the interpretation."""
