"""Figures: tensors in, a matplotlib figure out."""
