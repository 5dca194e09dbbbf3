"""``POST /api/v1/score``: what works would cost on nodes or in regions, for tools other than the scheduler.

Unlike the scheduler, whoever asks here is told when there is no honest number: without signals,
or with signals that are too old, the answer is a problem and no neutral score.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

import msgspec
import numpy as np

from aicsched.errors import AicschedError, did_you_mean
from aicsched.extender.api.problems import Refused, invalid, problem, refused_as_problem
from aicsched.extender.api.types import (
    MAX_CARDS,
    Basis,
    Candidate,
    Score,
    ScoreAnswer,
    ScoreQuery,
    Term,
    Usd,
)
from aicsched.extender.costs import FleetCosts
from aicsched.extender.levels import levels_from_grams
from aicsched.extender.routes import Reply, Route
from aicsched.extender.wire import FAULTS
from aicsched.score.engine import PodColumns
from aicsched.score.intensity import met_by_region
from aicsched.score.nodes import node_cards
from aicsched.score.regions import score_regions
from aicsched.score.request import Request as Wanted
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from aicsched.domain.score import ScoreCard
    from aicsched.extender.api.types import Work
    from aicsched.extender.routes import Request
    from aicsched.extender.snapshot import Snapshot, SnapshotHolder
    from aicsched.score.intensity import Met

    Ranked = tuple[ScoreCard, str, int]

__all__ = ["ScoreApi"]

# Each may keep a core busy for a second; the scheduler's own calls come between.
_AT_A_TIME: Final = 2
_TOLD: Final = {
    "no_snapshot": "there are no signals yet",
    "stale": "the newest signals are too old",
    "clock_skew": "the signals come from the future: clocks disagree",
    "no_signal": "the intensity of no grid is known",
}
_decoder: Final = msgspec.json.Decoder(ScoreQuery)
_encoder: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreApi:
    """Answers other tools from the current snapshot.

    Parameters
    ----------
    holder : SnapshotHolder
        Gives the snapshot.
    unfit : callable
        Says why a snapshot must not be scored by, or "".
    now_s : callable
        The clock: seconds since the epoch.
    """

    holder: SnapshotHolder
    unfit: Callable[[Snapshot | None], str]
    now_s: Callable[[], float]
    _room: threading.BoundedSemaphore = field(
        init=False, repr=False, default_factory=lambda: threading.BoundedSemaphore(_AT_A_TIME)
    )

    def route(self) -> Route:
        """Give the route.

        Returns
        -------
        Route
            ``POST /api/v1/score``.
        """
        return Route(
            name="score",
            path="/api/v1/score",
            answer=self.answer,
            in_thread=True,
            refused=refused_as_problem,
        )

    def answer(self, request: Request) -> Reply:
        """Answer a query.

        Parameters
        ----------
        request : Request
            Its body is a `ScoreQuery` in JSON.

        Returns
        -------
        Reply
            A `ScoreAnswer`, or a problem.
        """
        if not self._room.acquire(blocking=False):
            return problem(503, "busy", "too many scores are asked for at a time", hint="ask again")
        try:
            query = _decoder.decode(request.body)
            return Reply(_encoder.encode(self._answered(query)))
        except Refused as refused:
            return refused.reply
        except AicschedError as error:
            return problem(422, error.code, error.message, hint=error.hint)
        except FAULTS as error:
            return invalid(error)
        finally:
            self._room.release()

    def _answered(self, query: ScoreQuery) -> ScoreAnswer:
        if len(query.work) * query.best > MAX_CARDS:
            detail = f"{len(query.work)} works with the best {query.best} each are over {MAX_CARDS} scores"
            hint = "ask in parts, or for fewer"
            raise Refused(problem(422, "too-much", detail, hint=hint, pointer="#/best"))
        snapshot = self.holder.current
        code = self.unfit(snapshot)
        if snapshot is None or code or not isinstance(snapshot.costs, FleetCosts):
            detail = _TOLD.get(code, "nothing can be scored")
            hint = "see /readyz?verbose and /metrics"
            raise Refused(problem(503, code.replace("_", "-") or "no-scores", detail, hint=hint))
        basis = Basis(
            issued_at=datetime.fromtimestamp(snapshot.issued_at_s, UTC),
            age_s=self.now_s() - snapshot.issued_at_s,
            synthetic=snapshot.synthetic,
            sources={name: datetime.fromtimestamp(at_s, UTC) for name, at_s in snapshot.sources.items()},
        )
        among = _Nodes(snapshot, snapshot.costs) if query.by == "node" else _Regions(snapshot.costs)
        wanted = among.places if query.candidates is None else dict.fromkeys(query.candidates)
        found = [among.places[name] for name in wanted if name in among.places]
        asked = _Asked(
            places=np.array([place for place in found if among.is_lit(place)], dtype=np.int64),
            unscored=[among.name(place) for place in found if not among.is_lit(place)],
            unknown=[name for name in wanted if name not in among.places],
            best=query.best,
        )
        scores = [
            _score(among, asked, snapshot.costs, work, f"#/work/{index}")
            for index, work in enumerate(query.work)
        ]
        return ScoreAnswer(basis=basis, scores=scores)


class _Asked(NamedTuple):
    """Which candidates a query is about: those with a known grid, the others, and strangers."""

    places: NDArray[np.int64]
    unscored: list[str]
    unknown: list[str]
    best: int


def _score(among: _Nodes | _Regions, asked: _Asked, costs: FleetCosts, work: Work, pointer: str) -> Score:
    known = [region.name for region in costs.fleet.regions]
    if work.home_region and work.home_region not in known:
        _refuse_unknown("region", work.home_region, known, f"{pointer}/home_region")
    choice = costs.policies.choose(work.namespace, work.policy)
    if choice.unknown:
        _refuse_unknown("policy", choice.unknown, costs.policies.names, f"{pointer}/policy")
    request = Wanted(
        vcpus=work.vcpus,
        duration_s=work.duration_h * HOUR_S,
        home_region=work.home_region,
        data_gb=work.data_gb,
        memory_gib=work.memory_gib,
    )
    ranked = among.rank(request, choice.place, asked.places, asked.best)
    return Score(
        name=work.name,
        work=request.describe(),
        policy=choice.name,
        met_over_h=among.met_over_h(request),
        considered=len(asked.places),
        candidates=[_candidate(card, region, level) for card, region, level in ranked],
        unscored=asked.unscored,
        unknown=asked.unknown,
    )


def _refuse_unknown(kind: str, name: str, known: Iterable[str], pointer: str) -> NoReturn:
    """Tell a tool that mistyped a name; only for pods such a name counts as none."""
    detail, hint = f"there is no {kind} '{name}'", did_you_mean(name, known)
    raise Refused(problem(422, f"unknown-{kind}", detail, hint=hint, pointer=pointer))


class _Nodes:
    """The nodes of a snapshot as candidates."""

    def __init__(self, snapshot: Snapshot, costs: FleetCosts) -> None:
        self._costs = costs
        self._synthetic = snapshot.synthetic
        self.places = snapshot.index
        self._met: dict[float, Mapping[str, Met]] = {}

    def name(self, place: int) -> str:
        return self._costs.fleet.nodes[place].name

    def is_lit(self, place: int) -> bool:
        """Tell whether anything is known of the grid there."""
        return bool(self._costs.known[place])

    def met_over_h(self, request: Wanted) -> float:
        return self._costs.span_h(request.duration_s)

    def rank(self, request: Wanted, policy: int, places: NDArray[np.int64], best: int) -> list[Ranked]:
        costs = self._costs
        engine_at, own = costs.seats[policy]
        engine = costs.engines[engine_at]
        pod = PodColumns.of([request], engine.regions, policies=[own])
        total_g = engine.totals(pod, refuse=False)[0, places]
        refused = np.isinf(engine.totals(pod)[0, places])
        order = np.lexsort((total_g, refused))[:best]
        chosen = places[order]
        nodes = [costs.fleet.nodes[place] for place in chosen.tolist()]
        cards = node_cards(
            request,
            nodes,
            engine.terms(pod, np.zeros(len(chosen), np.int64), chosen),
            weights=costs.policies.weights[policy],
            met=self._met_there(request),
            any_price=engine.priced,
            inputs=costs.measured,
            synthetic=self._synthetic,
        )
        levels = levels_from_grams(total_g)[order].tolist()
        return list(zip(cards, [node.region for node in nodes], levels, strict=True))

    def _met_there(self, request: Wanted) -> Mapping[str, Met]:
        costs, hours = self._costs, self.met_over_h(request)
        if hours not in self._met:
            self._met[hours] = met_by_region(costs.fleet, costs.forecasts, costs.start_s, hours * HOUR_S)
        return self._met[hours]


class _Regions:
    """The regions of a snapshot's nodes as candidates."""

    def __init__(self, costs: FleetCosts) -> None:
        self._costs = costs
        self._regions = costs.fleet.regions
        self._dark = {
            node.region for node, lit in zip(costs.fleet.nodes, costs.known, strict=True) if not lit
        }
        self.places = {region.name: place for place, region in enumerate(self._regions)}

    def name(self, place: int) -> str:
        return self._regions[place].name

    def is_lit(self, place: int) -> bool:
        """Tell whether anything is known of the grid there."""
        return self.name(place) not in self._dark

    def met_over_h(self, request: Wanted) -> float:
        return request.duration_s / HOUR_S

    def rank(self, request: Wanted, policy: int, places: NDArray[np.int64], best: int) -> list[Ranked]:
        costs = self._costs
        cards = score_regions(
            request,
            costs.fleet,
            costs.forecasts,
            start_s=costs.start_s,
            weights=costs.policies.weights[policy],
        )
        left = {self.name(place) for place in places.tolist()}
        among = [card for card in cards if card.candidate in left]
        levels = levels_from_grams(np.array([card.mid_g for card in among]))
        return [(card, card.candidate, level) for card, level in zip(among, levels.tolist(), strict=True)][
            :best
        ]


def _candidate(card: ScoreCard, region: str, level: int) -> Candidate:
    return Candidate(
        candidate=card.candidate,
        region=region,
        level=level,
        low_g=card.low_g,
        mid_g=card.mid_g,
        high_g=card.high_g,
        carbon_g=card.carbon_g,
        terms=[
            Term(name=term.name, low_g=term.low_g, mid_g=term.mid_g, high_g=term.high_g, note=term.note)
            for term in card.terms
        ],
        slo_risk=card.slo_risk,
        slo_risk_parts=dict(card.slo_risk_parts),
        money=None if card.money is None else Usd(**card.money._asdict()),
        refusals=list(card.refusals),
        inputs=list(card.inputs),
        synthetic=card.synthetic,
    )
