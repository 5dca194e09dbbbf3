"""The command line: one file a command, nothing heavy imported before it is needed."""

import os

# Our matrices are small: more threads cost up to ten times the CPU, and let sums differ between machines.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from aicsched.cli.app import main

__all__ = ["main"]
