"""What a request costs here or there: grams, term by term, with the risk to its objectives."""
