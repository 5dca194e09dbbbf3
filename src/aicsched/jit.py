"""Kernels: one loop for numba, one numpy twin, and a rule for which runs.

Importing numba takes about a second and compiling a kernel takes seconds more,
so small calls and the first answer go through the numpy twin. The choice
depends on the input's size and the environment only, never on timing: equal
input gives equal output, twice. Compiled code is kept in a folder of its own
per version, so that an upgrade, a read-only install or a killed compile can't
poison another process; if that folder fails, the kernel compiles in memory.
"""

from __future__ import annotations

import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AUTO_WORK", "Kernel", "cache_dir", "warmup"]

# Below about this many inner steps numpy answers before numba is even imported (measured: import 0.9 s).
AUTO_WORK: Final = 200_000_000
_REGISTRY: Final[list[Kernel]] = []


def cache_dir() -> Path:
    """Return the folder for compiled kernels, made on demand.

    Returns
    -------
    Path
        ``$AICSCHED_CACHE_DIR``, else ``$XDG_CACHE_HOME/aicsched``, else
        ``~/.cache/aicsched``, else a per-user temporary folder; below it one
        folder per Python and numba version.
    """
    chosen = os.environ.get("AICSCHED_CACHE_DIR")
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aicsched"
    fallback = Path(tempfile.gettempdir()) / f"aicsched-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    version = f"py{sys.version_info.major}{sys.version_info.minor}-numba{metadata.version('numba')}"
    for base in (Path(chosen),) if chosen else (root, fallback):
        folder = base / "numba" / version
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return fallback


class Kernel:
    """A numeric function in two forms with equal results.

    Parameters
    ----------
    loop : callable
        Plain loops over arrays: what numba compiles.
    twin : callable
        The same in numpy: the oracle, and the way while nothing is compiled.
    signature : str
        numba's explicit signature; array inputs are declared read-only
        (``Array(float64, 1, "C", readonly=True)``), since frames give such arrays.
    work : callable
        From the arguments to the number of inner steps.

    Notes
    -----
    ``AICSCHED_KERNELS`` forces ``numpy`` or ``numba``; ``auto`` (default) takes
    numba when a call has at least `AUTO_WORK` steps or the kernel was warmed up
    by `warmup`.
    """

    def __init__(
        self,
        loop: Callable[..., Any],
        twin: Callable[..., Any],
        *,
        signature: str,
        work: Callable[..., float],
    ) -> None:
        self.loop = loop
        self.twin = twin
        self.signature = signature
        self.work = work
        self._compiled: Callable[..., Any] | None = None
        self.warm = False
        _REGISTRY.append(self)

    def __call__(self, *args: Any) -> Any:  # noqa: ANN401 - arrays in, arrays out, as the twin declares
        """Run whichever form the rule chooses."""
        mode = os.environ.get("AICSCHED_KERNELS", "auto")
        if mode == "numpy" or (mode == "auto" and not self.warm and self.work(*args) < AUTO_WORK):
            return self.twin(*args)
        return self.compiled()(*args)

    def compiled(self) -> Callable[..., Any]:
        """Return the compiled form, compiling it at the first call."""
        if self._compiled is None:
            self._compiled = self._compile()
        return self._compiled

    def _compile(self) -> Callable[..., Any]:
        os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_dir()))
        import numba  # noqa: PLC0415 - importing it takes a second

        try:
            return numba.njit(self.signature, cache=True, nogil=True)(self.loop)
        except Exception:  # noqa: BLE001 - unpickling a file cut short raises nearly anything
            # A cache that a killed process left broken must not stop the work: compile in memory.
            # A fault of the loop itself comes up again here.
            return numba.njit(self.signature, nogil=True)(self.loop)


def warmup() -> int:
    """Compile every kernel now, and use the compiled forms from here on.

    Returns
    -------
    int
        How many kernels are ready. Servers call this before they say that they are.
    """
    for kernel in _REGISTRY:
        kernel.compiled()
        kernel.warm = True
    return len(_REGISTRY)
