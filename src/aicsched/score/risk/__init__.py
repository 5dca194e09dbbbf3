"""How likely objectives break, as curves over the load that a request adds."""
