"""Oracles of the failover plan: what each service does at given prices, on arrays."""
