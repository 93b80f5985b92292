"""What one command does, from a composed config to its results: one short story in each file."""
