"""A run folder: its files, how they are read safely, how a run is resumed."""
