"""Densities and transforms that torch and zuko lack."""
