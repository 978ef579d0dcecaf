"""Tests of the tracking room, on real sqlite and a real tracking server on localhost."""
