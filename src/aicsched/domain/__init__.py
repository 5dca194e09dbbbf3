"""Frozen facts: what the rest of the library passes around.

Plain dataclasses without behaviour beyond checking themselves. Arrays inside
them are read-only, contiguous and float64; frames are turned into them, and
back, in `arrays` alone.
"""
