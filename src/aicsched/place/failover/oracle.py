"""What all services would do at given prices, and what that proves about every plan.

Rows are what capacity is counted by. Dedicated mode has one a region. Shared mode
adds one for each failure group and region: what moves there when that group is
lost. A price on each row turns the plan into services that no longer compete; the
sum of their cheapest answers, less the worth of the capacity, is a lower bound
(Lagrangian relaxation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aicsched.place.failover.kernels.dedicated import RESERVE
from aicsched.place.failover.kernels.shared import BACK_UP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.failover.problem import FailoverProblem

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Kept = tuple[Ints, Ints | NDArray[np.int8]]

__all__ = ["Answer", "DedicatedOracle", "SharedOracle"]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What each service does at some prices.

    Parameters
    ----------
    bound : float
        No plan costs less [g/h].
    cost_g : ndarray, shape (S,)
        What each service costs without prices [g/h].
    row : ndarray of int64, shape (S, E)
        Rows that it takes something of.
    vcpus : ndarray, shape (S, E)
        How much.
    kept : tuple of ndarray, each a row a service
        What the oracle needs to lay out a plan: parts and marks, or home and refuge.
    """

    bound: float
    cost_g: Floats
    row: Ints
    vcpus: Floats
    kept: Kept


class DedicatedOracle:
    """Each service holds its own reserve.

    Parameters
    ----------
    problem : FailoverProblem
        What is asked.
    free : bool
        Grams count for nothing: only the share of capacity is asked for.
    """

    def __init__(self, problem: FailoverProblem, *, free: bool = False) -> None:
        self.problem = problem
        self.rows = len(problem.regions)
        self.leaders = problem.leaders()
        self.use_g = np.zeros(problem.use_g.shape) if free else problem.use_g
        self.idle_g = np.zeros(self.rows) if free else problem.idle_g
        self.own_g = self.idle_g[problem.allowed]
        self.known = np.maximum(problem.allowed, 0)  # nothing is taken of a column without a region

    def first_prices(self) -> Floats:
        """Return zeros.

        Returns
        -------
        ndarray, shape (R,)
            Prices.
        """
        return np.zeros(self.rows)

    def price(self, prices: Floats) -> Answer:
        """Return the cheapest reservation of each service.

        Parameters
        ----------
        prices : ndarray, shape (R,)
            Per reserved thread [g/h], >= 0.

        Returns
        -------
        Answer
            With the bound.
        """
        problem = self.problem
        value, parts, mark = RESERVE(problem.allowed, self.leaders, self.use_g, self.idle_g + prices)
        bound = float(value @ problem.demand_vcpus - prices @ problem.capacity_vcpus)
        return self.answer((parts, mark), bound)

    def answer(self, kept: Kept, bound: float) -> Answer:
        """Return what services do, with what it costs here.

        Parameters
        ----------
        kept : tuple of ndarray
            Of an answer, perhaps of an oracle with other costs.
        bound : float
            What its prices prove.

        Returns
        -------
        Answer
            With costs of this oracle.
        """
        parts, mark = kept
        share = self.problem.demand_vcpus / parts
        held = (mark > 0) * share[:, None]
        cost_g = (((mark == 1) * self.use_g + (mark > 0) * self.own_g).sum(axis=1)) * share
        return Answer(bound, cost_g, self.known, held, kept)

    def lay_out(self, answer: Answer) -> tuple[Floats, Floats, Floats]:
        """Return threads in use, held and moved.

        Parameters
        ----------
        answer : Answer
            One of ours.

        Returns
        -------
        tuple of ndarray, shapes (S, K), (S, K), (S, 0, 0)
            Threads.
        """
        mark = answer.kept[1]
        return (mark == 1) * answer.vcpus, answer.vcpus, np.zeros((len(mark), 0, 0))


class SharedOracle:
    """Services count on one reserve, since only one group is lost at a time.

    Parameters
    ----------
    problem : FailoverProblem
        What is asked.
    free : bool
        Grams count for nothing: only the share of capacity is asked for.

    Notes
    -----
    Rows: R for what works in a region, then F × R for what moves there when a group is lost. A
    region's reserve is as large as the largest of the latter, which ties their prices: together
    they are at most what a reserved thread costs.
    """

    def __init__(self, problem: FailoverProblem, *, free: bool = False) -> None:
        self.problem = problem
        _, regions, groups = problem.shape
        self.rows = regions + groups * regions
        self.leaders = problem.leaders()
        self.use_g = np.zeros(problem.use_g.shape) if free else problem.use_g
        self.idle_g = np.zeros(regions) if free else problem.idle_g

    def first_prices(self) -> Floats:
        """Return prices at which a reserve of each group costs what it must.

        Returns
        -------
        ndarray, shape (R + F * R,)
            Prices.
        """
        _, regions, groups = self.problem.shape
        return np.concatenate([np.zeros(regions), np.tile(self.idle_g / groups, groups)])

    def price(self, prices: Floats) -> Answer:
        """Return the cheapest region and refuge of each service.

        Parameters
        ----------
        prices : ndarray, shape (R + F * R,)
            Per thread [g/h], >= 0; those of one region's reserve are scaled down where together
            they exceed what it costs, so that the bound is one.

        Returns
        -------
        Answer
            With the bound.
        """
        problem = self.problem
        _, regions, groups = problem.shape
        work, backup = prices[:regions], prices[regions:].reshape(groups, regions)
        most, asked = self.idle_g + work, backup.sum(axis=0)
        kept = np.where(asked > most, most / np.where(asked > 0, asked, 1.0), 1.0)
        backup = np.ascontiguousarray(backup * kept)
        value, home, refuge = BACK_UP(
            problem.allowed, self.leaders, self.use_g, problem.group, self.idle_g + work, backup
        )
        bound = float(value @ problem.demand_vcpus - work @ problem.capacity_vcpus)
        return self.answer((home, refuge), bound)

    def answer(self, kept: Kept, bound: float) -> Answer:
        """Return what services do, with what it costs here.

        Parameters
        ----------
        kept : tuple of ndarray
            Of an answer, perhaps of an oracle with other costs.
        bound : float
            What its prices prove.

        Returns
        -------
        Answer
            With costs of this oracle.
        """
        problem = self.problem
        home, refuge = kept
        rows, regions = np.arange(len(home)), len(problem.regions)
        here, there = problem.allowed[rows, home], problem.allowed[rows, refuge]
        cost_g = (self.use_g[rows, home] + self.idle_g[here]) * problem.demand_vcpus
        row = np.stack([here, regions + problem.group[here] * regions + there], axis=1)
        vcpus = np.stack([problem.demand_vcpus, problem.demand_vcpus], axis=1)
        return Answer(bound, cost_g, row, vcpus, kept)

    def lay_out(self, answer: Answer) -> tuple[Floats, Floats, Floats]:
        """Return threads in use, held and moved.

        Parameters
        ----------
        answer : Answer
            One of ours.

        Returns
        -------
        tuple of ndarray, shapes (S, K), (S, K), (S, K, K)
            Threads.
        """
        home, refuge = answer.kept
        demand, shape = self.problem.demand_vcpus, self.problem.allowed.shape
        rows = np.arange(len(demand))
        used, moved = np.zeros(shape), np.zeros((*shape, shape[1]))
        used[rows, home] = demand
        moved[rows, home, refuge] = demand
        return used, used, moved
