"""Where each fact stands in the arrays that the kernels of the score read."""

from __future__ import annotations

from typing import Final

# Rows of the facts of nodes, (NODE_FACTS, n): each contiguous, since one pod after another runs along them.
PER_VCPU: Final = 0  # 1 / hardware threads
VCPUS: Final = 1
MEMORY_GIB: Final = 2
RANGE_KW: Final = 3  # from idle to full load, times PUE
AWAKE_KW: Final = 4  # idle power that a request keeps on, times PUE
G_PER_KWH: Final = 5
USD_PER_KWH: Final = 6
USD_PER_VCPU_H: Final = 7
TRANSFER_G_PER_GB: Final = 8
EMBODIED_G_PER_VCPU_H: Final = 9
USED_SHARE: Final = 10
SEEN_SHARE: Final = 11  # how much of the load was measured
SEEN_BASE: Final = 12  # the same times the share of power at the load
REGION: Final = 13
PER_GIB: Final = 14  # 1 / memory
READY: Final = 15  # chance that it stays ready
NODE_FACTS: Final = 16

# Columns of the facts of pods, (p, POD_FACTS).
POD_VCPUS: Final = 0
POD_MEMORY_GIB: Final = 1
POD_H: Final = 2
POD_GB: Final = 3
POD_HOME: Final = 4  # a region, or -1
POD_POLICY: Final = 5
POD_FACTS: Final = 6

# Columns of the rates of policies, (q, POLICY_FACTS).
RISK_G: Final = 0
G_PER_USD: Final = 1
EMBODIED: Final = 2  # 1 or 0
MAX_RISK: Final = 3
POLICY_FACTS: Final = 4

# The curve from load to power, (5,): a slope, and where and by how much it changes.
SLOPE: Final = 0
KINK_1: Final = 1
STEP_1: Final = 2
KINK_2: Final = 3
STEP_2: Final = 4

# Rows of the kernel's own arrays, (ROOM, BLOCK).
SUM: Final = 0
PLACE: Final = 1  # on the curve of load, in steps of its grid
MEMORY_PLACE: Final = 2
LOW: Final = 3  # the points of the curves on both sides
HIGH: Final = 4
MEMORY_LOW: Final = 5
MEMORY_HIGH: Final = 6
CHANCE: Final = 7
ROOM: Final = 8

# Nodes that are scored for all pods before the next ones: their facts and risks stay in the fast cache.
BLOCK: Final = 64
