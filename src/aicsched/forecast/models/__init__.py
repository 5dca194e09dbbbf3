"""Models: each foresees one grid zone's intensity."""
