"""Hardware that could be tagged, repurposed or switched off: recommended, never applied."""
