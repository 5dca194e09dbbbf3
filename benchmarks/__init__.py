"""Side-by-side measurements: each benchmark runs its rival in the same run and prints the ratio."""
