"""Numeric loops of the simulator: arrays in, arrays out."""
