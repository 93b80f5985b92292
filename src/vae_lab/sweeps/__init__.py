"""What a multirun adds to its runs: launching, surviving, reporting."""
