"""Which machine a series is of, and how much of a slot was seen of it.

An exporter names itself by the address it is scraped at. What node that is may change: an
address is given to another machine, a machine comes back under another address. So names are
looked up slot by slot, in series that say them: kube_node_info by address, node_uname_info by
exporter. How much was seen matters, since `rate` and `increase` take what falls outside the
samples for nothing: a machine watched for half an hour would seem half as busy in that hour.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from aicsched.errors import SignalInvalid
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.signals.prometheus.server import Series
    from aicsched.slots import SlotGrid

__all__ = ["COVERED_SHARE", "Machines", "Row", "coverage_expr", "host_of", "laid", "pieces_of", "span"]

# Less of a slot than this is not enough to speak of it.
COVERED_SHARE: Final = 0.9
# No name of a machine.
_TWO: Final = " "
_MOST_PIECES: Final = (12, 10, 6, 5, 4, 3, 2, 1)
Key = tuple[tuple[str, str], ...]
# A witness, and the labels that tell machines apart among its series.
Asked = tuple[str, tuple[str, ...]]


def pieces_of(step_s: int, scrape_s: int) -> int:
    """Cut a slot into pieces, each long enough for a sample.

    Parameters
    ----------
    step_s : int
        Length of the slot [s].
    scrape_s : int
        Longest time between samples [s].

    Returns
    -------
    int
        How many, at most 12, each two samples long or more where that can be.

    Examples
    --------
    >>> pieces_of(3600, 60), pieces_of(300, 60), pieces_of(60, 60)
    (12, 2, 1)
    """
    return next((many for many in _MOST_PIECES if step_s % many == 0 and step_s // many >= 2 * scrape_s), 1)


def coverage_expr(witness: str, by: Sequence[str], step_s: int, scrape_s: int) -> str:
    """Write the query for how many pieces of a slot hold a sample.

    Parameters
    ----------
    witness : str
        A selector.
    by : sequence of str
        Labels to tell machines apart by.
    step_s, scrape_s : int
        As in `pieces_of`.

    Returns
    -------
    str
        PromQL; its value is a share of the slot.
    """
    many = pieces_of(step_s, scrape_s)
    piece_s = step_s // many
    seen = f"max by ({', '.join(by)}) (present_over_time({witness}[{span(piece_s)}]))"
    return seen if many == 1 else f"count_over_time(({seen})[{span(step_s)}:{piece_s}s]) / {many}"


def span(step_s: int) -> str:
    """Write a range that holds what is after its first instant.

    Parameters
    ----------
    step_s : int
        How long it is [s].

    Returns
    -------
    str
        A millisecond less, the finest that samples have: before Prometheus 3.0 a range held its first
        instant too, so that a sample on the border of two slots was in both.

    Examples
    --------
    >>> span(3600)
    '3599999ms'
    """
    return f"{1000 * step_s - 1}ms"


def host_of(instance: str) -> str:
    """Take the port off an exporter's address.

    Parameters
    ----------
    instance : str
        Such as ``10.0.0.1:9100`` or ``[fd00::1]:9100``.

    Returns
    -------
    str
        The host.

    Examples
    --------
    >>> host_of("10.0.0.1:9100"), host_of("[fd00::1]:9100"), host_of("worker-1")
    ('10.0.0.1', 'fd00::1', 'worker-1')
    """
    if instance.startswith("["):
        return instance[1:].partition("]")[0]
    return instance.partition(":")[0] if instance.count(":") == 1 else instance


class Row(NamedTuple):
    """One series on the slots of a chunk.

    Parameters
    ----------
    metric : dict of str to str
        Its labels.
    values : ndarray, one for each slot
        NaN where there is none.
    """

    metric: dict[str, str]
    values: NDArray[np.float64]


def laid(series: Series, window: SlotGrid, source: str) -> Row:
    """Lay the values of a series on the slots that they end.

    Parameters
    ----------
    series : Series
        As the server sent it.
    window : SlotGrid
        What was asked for.
    source : str
        For messages.

    Returns
    -------
    Row
        A tenth of the size of what was sent.

    Raises
    ------
    SignalInvalid
        A time was not asked for, or comes twice, or a value is no number.
    """
    made = np.full(len(window), np.nan)
    try:
        value = np.array([float(text) for _, text in series.values], dtype=np.float64)
    except ValueError as error:
        msg = f"{source} sent a value that is no number ({error})"
        raise SignalInvalid(msg, hint="check the address") from error
    time_s = np.array([time for time, _ in series.values], dtype=np.float64)
    slot, rest = np.divmod(time_s - window.start_s - window.step_s, window.step_s)
    wrong = (rest != 0) | (slot < 0) | (slot >= len(window))
    wrong[1:] |= np.diff(slot) <= 0
    if wrong.any():
        when = format_time(float(time_s[np.argmax(wrong)]))
        msg = f"{source} sent a value for {when}, which was not asked for there"
        raise SignalInvalid(msg, hint="check what stands between it and Prometheus", value=when)
    made[slot.astype(np.int64)] = value
    return Row(series.metric, made)


def key_of(labels: Mapping[str, str], by: Sequence[str]) -> Key:
    """Return what tells a machine's series from others'."""
    return tuple((name, labels[name]) for name in by if labels.get(name))


class _Said:
    """What something is called in each slot: "" while nobody says, `_TWO` where two machines go by it.

    Counters of two machines behind one address look like one counter that jumps: nothing can be
    said of that slot.
    """

    def __init__(self, size: int) -> None:
        self.names: NDArray[np.object_] = np.full(size, "", dtype=np.object_)

    def add(self, name: str, share: NDArray[np.float64]) -> None:
        here = share > 0
        first = (self.names == "") | (self.names == name)
        self.names[here] = np.where(first[here], name, _TWO)


@dataclass(slots=True)
class Machines:
    """Names and coverage of what one chunk of time holds.

    Parameters
    ----------
    window : SlotGrid
        The chunk.
    before : dict of str to str
        Whose each address was last, at its beginning.
    """

    window: SlotGrid
    before: dict[str, str] = field(default_factory=dict)
    _covered: dict[tuple[Asked, Key], NDArray[np.bool_]] = field(default_factory=dict)
    _addresses: dict[str, _Said] = field(default_factory=dict)
    _instances: dict[str, _Said] = field(default_factory=dict)

    def add_addresses(self, found: Sequence[Row]) -> None:
        """Learn nodes by their addresses (labels ``internal_ip`` and ``node``)."""
        for labels, share in found:
            address, name = labels.get("internal_ip"), labels.get("node")
            if address and name:
                said = self._addresses.setdefault(address, _Said(len(self.window)))
                said.add(name, share)

    def add_coverage(self, asked: Asked, found: Sequence[Row]) -> None:
        """Learn how much was seen of machines, and what they call themselves (label ``nodename``)."""
        for labels, share in found:
            enough = np.nan_to_num(share) >= COVERED_SHARE
            key = (asked, key_of(labels, asked[1]))
            self._covered[key] = self._covered.get(key, np.zeros(len(self.window), np.bool_)) | enough
            instance, name = labels.get("instance"), labels.get("nodename")
            if instance and name:
                self._instances.setdefault(instance, _Said(len(self.window))).add(name, share)

    def covered(self, asked: Asked, labels: Mapping[str, str]) -> NDArray[np.bool_]:
        """Tell in which slots enough was seen.

        Parameters
        ----------
        asked : tuple of str and tuple of str
            The witness and the labels by which its coverage was asked for.
        labels : mapping of str to str
            Of a series.

        Returns
        -------
        ndarray of bool, shape (len(window),)
            False where nothing is known.
        """
        found = self._covered.get((asked, key_of(labels, asked[1])))
        return np.zeros(len(self.window), np.bool_) if found is None else found

    def names(self, labels: Mapping[str, str]) -> NDArray[np.object_]:
        """Tell whose a series is, slot by slot.

        Parameters
        ----------
        labels : mapping of str to str
            Of the series.

        Returns
        -------
        ndarray of str, shape (len(window),)
            The node's name; "" where it can't be told.
        """
        size = len(self.window)
        plain = labels.get("node") or labels.get("node_name")
        if plain:
            return np.full(size, plain, dtype=np.object_)
        instance = labels.get("instance", "")
        host = host_of(instance)
        by_address = self._by_address(host)
        by_itself = self._instances[instance].names if instance in self._instances else np.full(size, "")
        made = np.where(by_address != "", by_address, np.where(by_itself != "", by_itself, host))
        return np.where((by_address == _TWO) | (by_itself == _TWO), "", made)

    def _by_address(self, host: str) -> NDArray[np.object_]:
        """While nobody says whose an address is, it stays with whom it was."""
        said = self._addresses.get(host)
        names = np.full(len(self.window), "", dtype=np.object_) if said is None else said.names
        last = self.before.get(host, "")
        for slot in np.flatnonzero(names == "") if last or said else ():
            names[slot] = names[slot - 1] if slot else last
        return names

    def last_addresses(self) -> dict[str, str]:
        """Return whose each address was last, for the chunk that follows."""
        hosts = {*self.before, *self._addresses}
        return {host: str(self._by_address(host)[-1]) for host in hosts}
