"""Progress for people: named stages on a terminal, silence when piped."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["stages"]


@contextlib.contextmanager
def stages(*, quiet: bool) -> Generator[Callable[[str], None]]:
    """Show the stage that is under way, with the time it has taken.

    Parameters
    ----------
    quiet : bool
        True to show nothing.

    Yields
    ------
    callable
        To be told the name of each stage.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _name: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("start")
        yield lambda name: bar.update(task, description=name)
