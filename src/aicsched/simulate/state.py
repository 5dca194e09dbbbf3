"""Sites and jobs while time passes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.place.online.plans import Pool, Stretch
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.online.view import Outlook
    from aicsched.simulate.log import Machine
    from aicsched.simulate.sites import Site

__all__ = ["INSTANT_S", "JobState", "Run", "SiteState"]

INSTANT_S: Final = 1e-6
# Room is foreseen this far ahead [slots].
AHEAD: Final = 24 * 14


class SiteState:
    """One site while time passes.

    Parameters
    ----------
    site : Site
        The site.
    count : int
        How many jobs there are.
    """

    def __init__(self, site: Site, count: int) -> None:
        self.site, self.world = site, site.world
        self.vintages, self.step_s = site.known, site.truth.step_s
        self.slots = len(site.truth.g_per_kwh)
        self.free, self.used, self.down = float(site.world.reserved_vcpus), 0.0, 0
        self.booked = np.zeros(self.slots)
        self.looked: tuple[int, Outlook] | None = None
        luck = np.random.default_rng(site.world.seed)
        rate = site.world.spot_loss_per_h
        self.life = luck.exponential(HOUR_S / rate, size=count) if rate > 0 else np.full(count, np.inf)

    def cap(self, now: float) -> float:
        """Return how many threads may be busy now."""
        return 0.0 if self.down else self.world.cap_at(int((now + INSTANT_S) / self.step_s))

    def outlook(self, now: float) -> Outlook:
        """Return the newest forecast; each is copied once."""
        row = int(self.vintages.known_at(now)[0])
        if self.looked is None or row != self.looked[0]:
            self.looked = row, self.vintages.outlook(now)
        return self.looked[1]

    def room(self, now: float) -> NDArray[np.float64]:
        """Return how many threads the cap leaves from the current slot on, once all that is planned runs."""
        if not self.world.capped:
            return np.empty(0)
        first = int((now + INSTANT_S) / self.step_s)
        ahead = range(first, min(first + AHEAD, self.slots))
        room = np.array([self.world.cap_at(slot) for slot in ahead]) - self.booked[ahead.start : ahead.stop]
        # What takes longer than was expected is in the way now.
        room[:1] = np.minimum(room[:1], self.cap(now) - self.used)
        return room


@dataclass(frozen=True, slots=True)
class Run:
    """A run that goes on: since when, how long it loads first, on what machine, in what stretch [s]."""

    begun: float
    load: float
    machine: Machine
    stretch: Stretch


@dataclass(slots=True)
class JobState:
    """One job while time passes [s].

    Parameters
    ----------
    arrival_s, vcpus, length_s : float
        As in the workload.
    home : int
        The site where its data lie.
    """

    arrival_s: float
    vcpus: float
    length_s: float
    home: int
    left: float = field(init=False)
    where: int = field(init=False)
    data_at: int = field(init=False)
    plan: tuple[Stretch, ...] = ()
    pool: Pool = Pool.ANY
    at: int = 0
    version: int = 0
    begun: bool = False
    stopped: float = -np.inf
    ran: float = 0.0
    lost: float = 0.0
    ready: float = 0.0
    lost_at: float | None = None
    queued: tuple[int, int] | None = None
    run: Run | None = None
    booking: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        self.left, self.where, self.data_at = self.length_s, self.home, self.home
