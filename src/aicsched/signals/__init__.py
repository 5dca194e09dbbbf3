"""What the world says: carbon intensity and telemetry, each value with its source."""
