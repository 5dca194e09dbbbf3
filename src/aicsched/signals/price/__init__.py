"""What power and machines cost, from files, from APIs and made up: sources of `PriceSeries`."""
