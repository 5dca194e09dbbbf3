"""The report: pictures and tables of a plan in one HTML file that needs nothing else.

`model` says what a report shows, `figures` draws it, `html` writes the page.
Nothing is computed here that decides: only sums of what a plan says already.
"""
