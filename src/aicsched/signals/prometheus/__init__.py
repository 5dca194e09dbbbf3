"""What Prometheus knows of nodes: utilisation, pressure, latency, readiness and watts, slot by slot."""
