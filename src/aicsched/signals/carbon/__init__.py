"""Carbon sources, independent of one another."""
