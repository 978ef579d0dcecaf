"""Tests of the GEO room, against files and a server on localhost."""
