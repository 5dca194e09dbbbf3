"""Loops of the search for better assignments."""
