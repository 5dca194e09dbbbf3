"""What stands where in the kernels' arrays, and the numbers of policies and rules."""

from __future__ import annotations

from typing import Final

# A GPU in thousandths.
WHOLE: Final = 1000

# Columns of the state: what a node has free. GPUs stand from the third on; 0 for one that isn't there.
CPU: Final = 0
MEMORY: Final = 1
GPU: Final = 2

# Columns of a size: CPU and memory as above, how many GPUs, how much of each, its tag for clustering.
NUM: Final = 2
MILLI: Final = 3
TAG: Final = 4

# Columns of a node's facts: GPUs, model, CPU capacity, class of nodes that are equal at first, whether it has
# changed since; then how many pods of each tag it holds.
GPUS: Final = 0
MODEL: Final = 1
CAPACITY: Final = 2
CLASS: Final = 3
CHANGED: Final = 4
TAGS: Final = 5

# Columns of a node's grams per hour: per CPU milli, per GPU woken, for waking the node, per GPU milli lost.
CPU_G: Final = 0
GPU_G: Final = 1
NODE_G: Final = 2
LOST_G: Final = 3

# Policies: RANDOM draws a node, the others take the first of equals.
RANDOM: Final = 0
FIRST_FIT: Final = 1
BEST_FIT: Final = 2
DOT_PRODUCT: Final = 3
GPU_PACKING: Final = 4
GPU_CLUSTERING: Final = 5
FGD: Final = 6
CARBON_FGD: Final = 7

# Kinds of rules.
ANTI_AFFINITY: Final = 0
AFFINITY: Final = 1
SPREAD: Final = 2
