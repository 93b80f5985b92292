"""What a multirun adds to its runs."""
