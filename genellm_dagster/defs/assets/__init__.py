"""The assets, one file a group.

Each file has a function that builds the group's assets for one study.
"""
