"""Kernels: one loop for numba, one numpy twin, and a rule for which runs.

Importing numba takes about a second and compiling a kernel takes seconds more,
so small calls and the first answer go through the numpy twin. The choice
depends on the input's size and the environment only, never on timing: equal
input gives equal output, twice. A kernel whose two forms agree to the last bit
(``exact``) need not wait for its compiler: it answers through numpy, compiles in
the background, and changes over when ready, which nobody can tell from the result.

Compiled code is kept in a folder of its own per version and kernel (`cache_dir`);
an upgrade, a read-only install, processes that start at once or a killed compile
can't poison another process. Many rows are shared out to threads by `over_rows`,
which runs serial kernels that let go of the interpreter lock: numba's own
threading would cost a longer compile, and dies after a fork or under two callers.
"""

from __future__ import annotations

from aicsched.jit.cache import cache_dir
from aicsched.jit.kernel import AUTO_WORK, Kernel, warmup
from aicsched.jit.rows import over_rows

__all__ = ["AUTO_WORK", "Kernel", "cache_dir", "over_rows", "warmup"]
