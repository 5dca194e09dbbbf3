"""What can run work: regions, nodes, special backends, and the queue."""
