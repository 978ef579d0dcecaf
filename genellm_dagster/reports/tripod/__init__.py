"""The points of TRIPOD+AI and what a run says to each; nothing here measures anything."""
