"""The tests of genellm_dagster: one folder a room, files named by behaviour."""
