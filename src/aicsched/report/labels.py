"""Where to write the names of points so that none lies on another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LETTER_IN", "LINE_IN", "spread"]

LETTER_IN: Final = 0.078
"""Width of a letter at 9 pt in the widest font that a browser may choose, bold included."""
LINE_IN: Final = 0.17
"""Height of a line at 9 pt."""
_GAP_IN: Final = 0.09
_MARK_IN: Final = 0.06

Box = tuple[float, float, float, float]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def spread(
    points: Sequence[tuple[float, float]], names: Sequence[str], size_in: tuple[float, float]
) -> list[tuple[float, float]]:
    """Choose a place for each point's name: beside it, and above or below where that is taken.

    Parameters
    ----------
    points : sequence of (float, float)
        From the lower left corner [in].
    names : sequence of str
        One a point; points behind them have no name and are only kept clear.
    size_in : tuple of float
        Width and height of the picture [in].

    Returns
    -------
    list of (float, float)
        Left end and middle of each name [in].

    Examples
    --------
    >>> [(round(x, 2), round(y, 2)) for x, y in spread([(1, 1), (1.5, 1)], ["one", "two"], (3, 2))]
    [(1.09, 1.0), (1.59, 1.0)]
    >>> [(round(x, 2), round(y, 2)) for x, y in spread([(1, 1), (1.2, 1)], ["one", "two"], (3, 2))]
    [(0.68, 1.0), (1.29, 1.0)]
    """
    taken: list[Box] = [(x - _MARK_IN, y - _MARK_IN, x + _MARK_IN, y + _MARK_IN) for x, y in points]
    chosen: list[tuple[float, float]] = []
    for (x, y), name in zip(points, names, strict=False):
        width = LETTER_IN * len(name)
        spots = [
            (left, y + lines * LINE_IN)
            for lines in (0, 1, -1, 2, -2, 3, -3)
            for left in (x + _GAP_IN, x - _GAP_IN - width)
        ]
        boxes = [(left, mid - LINE_IN / 2, left + width, mid + LINE_IN / 2) for left, mid in spots]
        free = [
            index
            for index, box in enumerate(boxes)
            if box[0] >= 0 and box[2] <= size_in[0] and box[1] >= 0 and box[3] <= size_in[1]
            and not any(_overlap(box, other) for other in taken)
        ]  # fmt: skip
        best = free[0] if free else 0
        taken.append(boxes[best])
        chosen.append(spots[best])
    return chosen
