"""The verbs beside filter and prioritize: bind and preempt, each a function from body to answer."""
