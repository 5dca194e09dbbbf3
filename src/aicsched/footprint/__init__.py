"""What a watt, a machine and a byte emit."""
