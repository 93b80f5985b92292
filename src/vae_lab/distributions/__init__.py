"""Densities and transforms that torch and zuko lack, and what is asked of every distribution."""
