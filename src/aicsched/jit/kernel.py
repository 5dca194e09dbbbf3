"""A kernel in two forms, and which one runs."""

from __future__ import annotations

import contextlib
import os
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from aicsched.jit.cache import COMPILING, compile_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["AUTO_WORK", "Kernel", "warmup"]

# Below about this many inner steps numpy answers before numba is even imported (measured: import 0.9 s).
AUTO_WORK: Final = 200_000_000
_NONE: Final[Mapping[str, float]] = MappingProxyType({})
_REGISTRY: Final[list[Kernel]] = []


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
    helpers : sequence of callable
        Plain functions that the loop calls, each before those that call it in turn;
        they are compiled along with it.
    constants : mapping of str to bool, int or float, optional
        Values of module constants that the compiled form is made for, in place of their own: what a
        false one rules out is not compiled at all. The twin reads the module's.
    exact : bool
        Both forms agree to the last bit. Such a kernel never waits for its compiler.

    Notes
    -----
    ``AICSCHED_KERNELS`` forces ``numpy`` or ``numba``; ``auto`` (default) takes
    numba when a call has at least `AUTO_WORK` steps or the kernel was warmed up
    by `warmup`. An exact kernel that isn't compiled by then starts to, in the
    background, and answers through numpy until it is. With ``NUMBA_DISABLE_JIT``
    set, ``auto`` always takes numpy, and ``numba`` runs the plain loops.
    """

    def __init__(
        self,
        loop: Callable[..., Any],
        twin: Callable[..., Any],
        *,
        signature: str,
        work: Callable[..., float],
        helpers: Sequence[Callable[..., Any]] = (),
        constants: Mapping[str, float] = _NONE,
        exact: bool = False,
    ) -> None:
        self.loop = loop
        self.twin = twin
        self.signature = signature
        self.work = work
        self.helpers = tuple(helpers)
        self.constants = dict(constants)
        self.exact = exact
        self._compiled: Callable[..., Any] | None = None
        self.warm = False
        _REGISTRY.append(self)

    def __call__(self, *args: Any) -> Any:  # noqa: ANN401 - arrays in, arrays out, as the twin declares
        """Run whichever form the rule chooses."""
        return self.form(*args)(*args)

    def form(self, *args: Any) -> Callable[..., Any]:
        """Return the form that the rule chooses for some arguments.

        Parameters
        ----------
        *args : Any
            What the kernel is to be called with; with rows in all, where they are shared out.

        Returns
        -------
        callable
            The twin or the compiled form.
        """
        mode = os.environ.get("AICSCHED_KERNELS", "auto")
        if mode == "numpy":
            return self.twin
        if mode == "numba":
            return self.compiled()
        if os.environ.get("NUMBA_DISABLE_JIT", "0") not in {"", "0"}:
            return self.twin
        if not self.warm and self.work(*args) < AUTO_WORK:
            return self.twin
        if self.exact and self._compiled is None:
            _background.take(self)
            return self.twin
        return self.compiled()

    def compiled(self) -> Callable[..., Any]:
        """Return the compiled form, compiling it at the first call.

        Returns
        -------
        callable
            Takes the arguments of the loop.
        """
        if self._compiled is not None:
            return self._compiled
        with COMPILING:
            if self._compiled is None:
                self._compiled = compile_kernel(self.loop, self.helpers, self.signature, self.constants)
            return self._compiled


def warmup(*, background: bool = False) -> int:
    """Compile kernels, and use the compiled forms from here on.

    Parameters
    ----------
    background : bool
        Return at once and compile in a thread. Only exact kernels are taken then:
        the others would change their last digits at a moment that nobody chose.

    Returns
    -------
    int
        How many kernels are ready, or will be. Servers call this before they say
        that they are ready.
    """
    # A copy, since kernels are made as modules are imported.
    chosen = [kernel for kernel in tuple(_REGISTRY) if kernel.exact or not background]
    for kernel in chosen:
        if background:
            _background.take(kernel)
        else:
            kernel.compiled()
        kernel.warm = True
    return len(chosen)


# ---------------------------------------------------------------- compiling in the background


class _Background:
    """The one thread that compiles what calls don't wait for."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.asked: set[int] = set()
        self.waiting: list[Kernel] = []
        self.thread: threading.Thread | None = None

    def take(self, kernel: Kernel) -> None:
        """Have a kernel compiled, once."""
        with self.guard:
            if id(kernel) in self.asked:
                return
            self.asked.add(id(kernel))
            self.waiting.append(kernel)
            if self.thread is None:
                # No daemon: the interpreter must not end while LLVM is at work.
                self.thread = threading.Thread(target=self._work, name="aicsched-compile")
                self.thread.start()

    def _work(self) -> None:
        """Compile one after another, until nothing waits or the process wants to end."""
        while True:
            with self.guard:
                if not self.waiting or not threading.main_thread().is_alive():
                    self.thread = None
                    return
                kernel = self.waiting.pop(0)
            # Numpy goes on answering where this fails; a warmup in the foreground shows the fault.
            with contextlib.suppress(Exception):
                kernel.compiled()


_background = _Background()


def _after_fork() -> None:
    global _background  # noqa: PLW0603 - threads don't follow a fork
    _background = _Background()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
