"""Deferral in time: work that may wait is held back until its grid is cleaner, and never too long.

`waiting` reads what an object asks for, `webhook` holds pods back, `planner` chooses when, `rules`
says who is due, `controller` releases, `election` lets one replica act. All that must outlive a
process stands on the objects themselves (see `aicsched.extender.names`).
"""
