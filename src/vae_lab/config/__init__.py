"""Values checked against annotations, and configs made into objects."""
