"""One look for all pictures, and their way into the page."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AFTER", "BAND", "BEFORE", "INK", "INTENSITY", "OTHER", "PAST", "PRICES", "draw"]

# Okabe and Ito's colours, told apart by every kind of colour vision
# (https://jfly.uni-koeln.de/color/).
AFTER: Final = "#0072b2"
BEFORE: Final = "#8a8f98"
OTHER: Final = "#d55e00"
BAND: Final = "#9ecae9"
PAST: Final = "#5b616b"
INK: Final = "#1d232b"
GRID: Final = "#e3e6ea"
# Clean is pale and dirty is orange, never so dark that ink on it can't be read.
INTENSITY: Final = LinearSegmentedColormap.from_list(
    "intensity", ("#fffbe6", "#fee391", "#fec44f", "#fe9929", "#e0701a")
)
# Another hue than the intensity's, from pale to dark, so that it can't be taken for it.
PRICES: Final = LinearSegmentedColormap.from_list("prices", ("#deebf7", "#9ecae9", "#0072b2", "#00324f"))

_RC: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # real text: it can be searched, copied, and read aloud
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 9.0,
    "axes.labelcolor": PAST,
    "axes.edgecolor": "#b9bec6",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": PAST,
    "ytick.color": PAST,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.linewidth": 1.3,
    "path.simplify": True,
}
_TRIMMED: Final = (
    (re.compile(r"^.*?(?=<svg)", re.DOTALL), ""),  # XML declaration and document type
    (re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL), ""),
    (re.compile(r"\s*<defs>\s*<style type=\"text/css\">.*?</style>\s*</defs>", re.DOTALL), ""),
    (re.compile(r"<g id=\"[^\"]*\"([^>]*)>"), r"<g\1>"),  # ids that would stand twice in a page
    (re.compile(r"(<svg [^>]*?) height=\"[^\"]*\""), r"\1"),
    (re.compile(r"(<svg [^>]*?) width=\"[^\"]*\""), r"\1"),
    (re.compile(r"<!--.*?-->\s*", re.DOTALL), ""),
    (re.compile(r"\n\s+"), "\n"),
    (re.compile(r"'DejaVu Sans'"), "'DejaVu Sans', Verdana, sans-serif"),
)
_PATH: Final = re.compile(r" d=\"([^\"]*)\"")
_DECIMALS: Final = re.compile(r"(\.\d\d)\d+")


def _shorter(path: re.Match[str]) -> str:
    # A hundredth of a point is far below a pixel.
    return ' d="' + _DECIMALS.sub(r"\1", path[1]) + '"'


def draw(name: str, title: str, size_in: tuple[float, float], paint: Callable[[Figure], None]) -> str:
    """Draw a picture as SVG to put into a page.

    Parameters
    ----------
    name : str
        Unlike those of other pictures of the page: ids are made from it.
    title : str
        What it shows, for those who can't see it.
    size_in : tuple of float
        Width and height [in].
    paint : callable
        Puts axes into the figure.

    Returns
    -------
    str
        An ``<svg>`` element; the same bytes for the same picture.
    """
    with mpl.rc_context({**_RC, "svg.hashsalt": f"aicsched-{name}"}):
        figure = Figure(figsize=size_in)
        FigureCanvasSVG(figure)
        paint(figure)
        page = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(page, format="svg", metadata=nothing, transparent=True)
    svg = page.getvalue()
    for pattern, text in _TRIMMED:
        svg = pattern.sub(text, svg)
    svg = _PATH.sub(_shorter, svg)
    words = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{words}" ', 1).strip()
