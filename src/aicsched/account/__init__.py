"""Accounting: what was decided, what it emits, and what would have happened otherwise.

`decisions` turns a plan into decisions with their counterfactual, `ledger` keeps
them in a file that can't be changed unnoticed, `summary` adds them up. Where a
number can't be had there is an error and no number.
"""
