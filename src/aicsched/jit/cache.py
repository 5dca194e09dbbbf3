"""Where compiled kernels lie, and how one gets in or out unharmed.

Each kernel has a folder of its own, named by a digest of its code, its helpers
and the constants they use: code that changed never meets code compiled before.
One process at a time works on a folder; who waited then finds it filled. A
manifest with a digest per file is written last, so what a killed process, a full
disk or a bad sector left behind is seen, thrown away and made anew. Where no
folder can be written, the kernel is compiled in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import marshal
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from importlib import metadata
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

__all__ = ["COMPILING", "cache_dir", "compile_kernel"]

_MANIFEST: Final = "manifest.json"
# A compile takes seconds. Who waits longer goes on without the lock: numba replaces files whole.
_WAIT_S: Final = 120.0
COMPILING: Final = threading.RLock()
# Imported before the next lines on purpose: what is registered last is asked first, so a fork waits for our
# lock before it takes the one of logging, which the compiler needs.
_LOG: Final = logging.getLogger(__name__)
if hasattr(os, "register_at_fork"):
    # A fork waits for the compile at work: a child would inherit locks that nobody opens any more.
    os.register_at_fork(
        before=COMPILING.acquire, after_in_parent=COMPILING.release, after_in_child=COMPILING.release
    )


def cache_dir() -> Path:
    """Return the folder for compiled kernels, made on demand.

    Returns
    -------
    Path
        ``$AICSCHED_CACHE_DIR``, else ``$XDG_CACHE_HOME/aicsched``, else
        ``~/.cache/aicsched``, else a per-user temporary folder that nobody else can
        write to; below it one folder per Python and numba version. Where none of
        them can be written, the last one is returned as it is, and kernels are
        compiled in memory.
    """
    chosen = os.environ.get("AICSCHED_CACHE_DIR")
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aicsched"
    fallback = Path(tempfile.gettempdir()) / f"aicsched-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    version = f"py{sys.version_info.major}{sys.version_info.minor}-numba{metadata.version('numba')}"
    for base in (Path(chosen),) if chosen else (root, fallback):
        folder = base / "numba" / version
        try:
            if base == fallback:
                base.mkdir(mode=0o700, exist_ok=True)
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK) and (base != fallback or _is_private(base)):
            return folder
    return fallback


def _is_private(folder: Path) -> bool:
    """Tell whether a folder under a shared one is ours alone: what lies in it will be run."""
    if not hasattr(os, "getuid"):
        return True
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def compile_kernel(
    loop: Callable[..., Any],
    helpers: Sequence[Callable[..., Any]],
    signature: str,
    constants: Mapping[str, float],
) -> Callable[..., Any]:
    """Compile a loop with numba, or take it from the cache.

    Parameters
    ----------
    loop : callable
        The kernel.
    helpers : sequence of callable
        Functions that it calls, each before those that call it in turn.
    signature : str
        numba's explicit signature of the loop.
    constants : mapping of str to bool, int or float
        Module constants, and the values that they have here.

    Returns
    -------
    callable
        The compiled form; it doesn't hold the interpreter lock while it runs. With
        ``NUMBA_DISABLE_JIT`` set, the loop itself.
    """
    with COMPILING:
        folder = _kernel_folder(loop, helpers, signature, constants)
        if folder is None:
            return _compiled(loop, helpers, signature, constants, None)
        with _alone_in(folder):
            if not _intact(folder):
                _LOG.warning("compiled code in %s is broken and made anew", folder)
                _empty(folder)
            try:
                made = _compiled(loop, helpers, signature, constants, folder)
            except Exception:  # noqa: BLE001 - loading what doesn't fit raises nearly anything
                # Whatever is wrong with the folder must not stop the work, nor meet the next process.
                # A fault of the loop itself comes up again here.
                _empty(folder)
                return _compiled(loop, helpers, signature, constants, None)
            _seal(folder)
            return made


def _compiled(
    loop: Callable[..., Any],
    helpers: Sequence[Callable[..., Any]],
    signature: str,
    constants: Mapping[str, float],
    folder: Path | None,
) -> Callable[..., Any]:
    import numba  # noqa: PLC0415 - importing it takes a second

    library: Any = numba
    config: Any = library.core.config

    # The loop sees compiled helpers under their own names, while the module keeps the plain ones.
    names: dict[str, Any] = dict(getattr(loop, "__globals__", {})) | dict(constants)
    for helper in helpers:
        names[helper.__name__] = numba.njit(forceinline=True)(_with_globals(helper, names))
    dispatcher: Any = numba.njit(nogil=True)(_with_globals(loop, names))
    if not hasattr(dispatcher, "enable_caching"):
        return dispatcher
    if folder is not None:
        # numba reads the environment once, when it is imported, which may have been long before us;
        # its setting is read right here, and put back before anything is compiled.
        kept, config.CACHE_DIR = config.CACHE_DIR, str(folder)
        try:
            dispatcher.enable_caching()
        finally:
            config.CACHE_DIR = kept
    dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher


def _with_globals(function: Callable[..., Any], names: dict[str, Any]) -> Callable[..., Any]:
    assert isinstance(function, FunctionType)  # noqa: S101 - a kernel is a plain function
    made = FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    made.__qualname__ = function.__qualname__
    return made


# ---------------------------------------------------------------- the folder of a kernel


def _kernel_folder(
    loop: Callable[..., Any],
    helpers: Sequence[Callable[..., Any]],
    signature: str,
    constants: Mapping[str, float],
) -> Path | None:
    """Return the folder for exactly this code, or None where none can be made."""
    digest = hashlib.sha256(f"{signature}{sorted(constants.items())}".encode())
    for function in (loop, *helpers):
        digest.update(_bytes_of(function))
    folder = cache_dir() / f"{loop.__module__.rpartition('.')[2]}.{loop.__name__}-{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _bytes_of(function: Callable[..., Any]) -> bytes:
    """Return code and constants of a function: all that decides what it compiles to."""
    assert isinstance(function, FunctionType)  # noqa: S101 - a kernel is a plain function
    names = sorted(_names_in(function.__code__))
    spaces = [function.__globals__]
    spaces += [vars(found) for name in names if isinstance(found := spaces[0].get(name), ModuleType)]
    constants = [
        (name, value)
        for space in spaces
        for name in names
        if isinstance(value := space.get(name), int | float | tuple | str)
    ]
    return marshal.dumps(function.__code__) + repr(constants).encode()


def _names_in(code: CodeType) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names_in(constant)
    return found


@contextlib.contextmanager
def _alone_in(folder: Path) -> Generator[None]:
    """Let one process at a time work in a folder; a lock dies with its process."""
    try:
        import fcntl  # noqa: PLC0415 - not everywhere

        handle = (folder / "lock").open("w", encoding="utf-8")
    except (ImportError, OSError):
        yield
        return
    with handle:
        until = time.monotonic() + _WAIT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    break
                time.sleep(0.02)
            except OSError:  # a file system without locks
                break
            else:
                break
        yield


def _digests(folder: Path) -> dict[str, str]:
    """Return the digest of each file of numba's in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".nbi", ".nbc"})
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def _intact(folder: Path) -> bool:
    """Tell whether the files are those that the manifest names, or there are none."""
    try:
        found = _digests(folder)
        return not found or json.loads((folder / _MANIFEST).read_text(encoding="utf-8")) == found
    except (OSError, ValueError):
        return False


def _seal(folder: Path) -> None:
    """Write the manifest, last and whole; without one the files count as broken."""
    if _intact(folder):
        return
    part = folder / f"{_MANIFEST}.{os.getpid()}"
    with contextlib.suppress(OSError):
        part.write_text(json.dumps(_digests(folder)), encoding="utf-8")
        part.replace(folder / _MANIFEST)


def _empty(folder: Path) -> None:
    """Remove what lies in a folder, but for its lock."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != "lock":
            with contextlib.suppress(OSError):
                path.unlink()
