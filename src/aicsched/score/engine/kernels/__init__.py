"""Kernels of the score: thousands of nodes for hundreds of pods in one call."""
