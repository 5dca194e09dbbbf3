"""The extender on live signals: refreshers in the background, one snapshot that they swap.

`cluster` follows nodes and pods, `telemetry` reads what nodes did, `carbon` foresees
intensities, `build` makes a snapshot of the three, `booking` enters placements into the
ledger, `service` runs them. Each has its own pace and backs off when its upstream fails;
none of them is ever waited for by an answer.
"""
