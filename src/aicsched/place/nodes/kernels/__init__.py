"""Kernels of node placement: arrays in, arrays out."""
