"""Densities and transforms that torch and zuko lack, and summaries of every distribution."""
