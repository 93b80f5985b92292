"""What a multirun adds to its runs: launching, continuing, reporting."""
