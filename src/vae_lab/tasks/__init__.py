"""What each task does, from a composed config to its results."""
