"""Progress for people: named stages on a terminal, silence when piped."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["parts", "stages"]


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


@contextlib.contextmanager
def parts(*, quiet: bool) -> Generator[Callable[[str, int, int], None]]:
    """Show how much of some work is done, and when the rest will be.

    Parameters
    ----------
    quiet : bool
        True to show nothing.

    Yields
    ------
    callable
        To be told what was done last, how many parts are done and how many there are;
        without a name it sets where the work begins.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _name, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("start", total=None)

        def told(name: str, done: int, total: int) -> None:
            if name:
                bar.update(task, description=name, completed=done, total=total)
            else:
                # What was done before tells nothing of how fast the rest will be.
                bar.reset(task, completed=done, total=total)

        yield told
