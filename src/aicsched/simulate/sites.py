"""Several sites to simulate, and which jobs may run at which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from aicsched.errors import ConfigError, InputError, did_you_mean
from aicsched.place.online.view import Vintages, frozen
from aicsched.simulate.engine import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.simulate.truth import Truth

__all__ = ["Reach", "Site", "Sites"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """One place that runs jobs.

    Parameters
    ----------
    name : str
        For example a region.
    truth : Truth
        The intensity of its grid.
    world : World
        Its machines, caps, outages and prices, and what a busy thread draws.
    pue : float
        Power usage effectiveness: grams are those of the thread times this.
    vintages : Vintages, optional
        What was foreseen when; by default the truth.

    Raises
    ------
    ConfigError
        The effectiveness is below 1, or the world goes by ticks.
    """

    name: str
    truth: Truth
    world: World = field(default_factory=World)
    pue: float = 1.0
    vintages: Vintages | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.pue < np.inf:
            msg = f"site '{self.name}': a PUE of {self.pue:g} is below 1"
            raise ConfigError(msg, hint="PUE is total over IT energy", value=self.pue)
        if self.world.tick_s > 0:
            msg = f"site '{self.name}': several sites don't go by ticks"
            raise ConfigError(msg, hint="use --tick 0", value=self.world.tick_s)

    @property
    def known(self) -> Vintages:
        """What is foreseen."""
        return self.vintages or Vintages.perfect(self.truth.g_per_kwh, step_s=self.truth.step_s)

    @property
    def watts_per_vcpu(self) -> float:
        """What a busy thread draws, with cooling [W]."""
        return self.world.costs.watts_per_vcpu * self.pue


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sites:
    """All sites, and what happens between them.

    Parameters
    ----------
    sites : tuple of Site
        At least one, each name once, with slots of one length.
    restart_s : float
        How long after the loss of its site a job can begin at another one: finding out,
        deciding and restoring, the recovery time objective [s].
    saves_elsewhere : bool
        What a job saved can be read at other sites. Otherwise one that moves begins anew.

    Raises
    ------
    ConfigError
        There is no site, a name appears twice, slots differ, or the time is negative.
    """

    sites: tuple[Site, ...]
    restart_s: float = 0.0
    saves_elsewhere: bool = True

    def __post_init__(self) -> None:
        names = [site.name for site in self.sites]
        if not names or len(set(names)) < len(names):
            msg = f"the sites {names} are none, or one of them appears twice"
            raise ConfigError(msg, hint="give each site once", value=names)
        steps = {step for site in self.sites for step in (site.truth.step_s, site.known.step_s)}
        if len(steps) > 1:
            msg = f"the sites have slots of {' and '.join(f'{step:g}' for step in sorted(steps))} s"
            raise ConfigError(msg, hint="bring their intensities to one step", value=sorted(steps))
        if not 0 <= self.restart_s < np.inf:
            msg = f"restart_s is {self.restart_s:g}"
            raise ConfigError(msg, hint="give seconds, 0 or more", value=self.restart_s)

    def __len__(self) -> int:
        return len(self.sites)

    @property
    def names(self) -> tuple[str, ...]:
        """The names."""
        return tuple(site.name for site in self.sites)

    def number(self, name: str) -> int:
        """Return which site has a name.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        int
            Its number.

        Raises
        ------
        InputError
            There is no such site.
        """
        if name not in self.names:
            msg = f"there is no site '{name}'"
            raise InputError(msg, hint=did_you_mean(name, self.names), value=name)
        return self.names.index(name)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reach:
    """Where jobs are at home, and what moving each to a site emits.

    Parameters
    ----------
    home : ndarray of int64, shape (n,)
        Numbers of sites. Their data lie there, and stay there whatever moves.
    transfer_g : ndarray of float64, shape (n, k)
        Grams of moving each job's data to a site; 0 at home, infinite where it may not run [g].

    Raises
    ------
    InputError
        Something is negative, missing or of the wrong shape, or a job may not run at home.
    """

    home: NDArray[np.int64]
    transfer_g: NDArray[np.float64]

    def __post_init__(self) -> None:
        home, grams = np.asarray(self.home, dtype=np.int64), np.asarray(self.transfer_g, dtype=np.float64)
        if grams.ndim != 2 or home.shape != grams.shape[:1]:
            msg = f"homes of shape {home.shape} don't belong to transfers of shape {grams.shape}"
            raise InputError(msg, hint="give (jobs,) and (jobs, sites)")
        if len(home) and not (home.min() >= 0 and home.max() < grams.shape[1]):
            msg = f"a home is none of the {grams.shape[1]} sites"
            raise InputError(msg, hint="count sites from 0", value=int(home.max()))
        bad = np.isnan(grams) | (grams < 0)
        bad[np.arange(len(home)), home] |= grams[np.arange(len(home)), home] != 0
        if bad.any():
            job, site = np.argwhere(bad)[0].tolist()
            msg = f"job {job + 1}: moving it to site {site} emits {grams[job, site]:g} g"
            raise InputError(msg, hint="give 0 at home, elsewhere 0 or more, or infinity", value=job + 1)
        object.__setattr__(self, "home", frozen(home, np.int64))
        object.__setattr__(self, "transfer_g", frozen(grams, np.float64))

    @classmethod
    def of(
        cls,
        sites: Sites,
        home: Sequence[str],
        *,
        allowed: Sequence[Sequence[str]] | None = None,
        data_gb: NDArray[np.float64] | None = None,
        g_per_gb: NDArray[np.float64] | None = None,
    ) -> Reach:
        """Say it by names.

        Parameters
        ----------
        sites : Sites
            The sites.
        home : sequence of str
            Each job's home.
        allowed : sequence of sequences of str, optional
            Where each job may run beside its home; none named means anywhere, which is the default.
        data_gb : ndarray of float64, shape (n,), optional
            What has to be moved; 0 by default [GB].
        g_per_gb : ndarray of float64, shape (k,), optional
            What moving a gigabyte to a site emits; 0 by default [g/GB].

        Returns
        -------
        Reach
            As numbers.

        Raises
        ------
        InputError
            A name is none of a site.

        Examples
        --------
        >>> from aicsched.simulate import Truth
        >>> grid = Truth(g_per_kwh=np.ones(3))
        >>> two = Sites(sites=(Site(name="north", truth=grid), Site(name="south", truth=grid)))
        >>> Reach.of(two, ["north", "south"], allowed=[["north"], []]).transfer_g.tolist()
        [[0.0, inf], [0.0, 0.0]]
        """
        homes = np.array([sites.number(name) for name in home], dtype=np.int64)
        amount = np.zeros(len(homes)) if data_gb is None else np.asarray(data_gb, dtype=np.float64)
        rate = np.zeros(len(sites)) if g_per_gb is None else np.asarray(g_per_gb, dtype=np.float64)
        grams = amount[:, None] * rate[None, :]
        for job, names in enumerate(allowed or ()):
            if len(names):
                forbidden = np.ones(len(sites), dtype=np.bool_)
                forbidden[[sites.number(name) for name in names]] = False
                grams[job, forbidden] = np.inf
        grams[np.arange(len(homes)), homes] = 0.0
        return cls(home=homes, transfer_g=grams)
