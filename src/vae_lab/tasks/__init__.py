"""What one command does, from a config to its results."""
