"""What a person uses from Python: train a run, look at runs, save, explore."""
