"""What the simulation promises: files as GEO serves them, and a truth that is really in them."""
