"""What a Kubernetes cluster can run on: nodes, what is bound to them, and budgets of disruption."""
