"""The command line: one file a command, nothing heavy imported before it is needed."""

from aicsched.cli.app import main

__all__ = ["main"]
