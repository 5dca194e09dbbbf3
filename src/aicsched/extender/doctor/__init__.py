"""Finds what would go wrong: in a scheduler's configuration, and in a running cluster.

`finding` is what is said, `schedulerfile` reads a KubeSchedulerConfiguration wherever it
stands, `entries` and `profiles` hold the checks of it, `live` those of a cluster.
"""
