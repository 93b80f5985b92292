"""Everything around Lightning's loop."""
