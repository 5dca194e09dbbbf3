"""The engine against plain Python for each pair, its two forms bit by bit, and the rules of a score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.errors import InputError
from aicsched.footprint.power import load_shapes
from aicsched.score.engine import TERM_NAMES, NodeColumns, PodColumns, ScoreEngine
from aicsched.score.engine.kernels.top import SCORE_TOP
from aicsched.score.engine.kernels.totals import SCORE_TOTALS, SCORE_TOTALS_SINGLE
from aicsched.score.request import Request, ScoreWeights
from aicsched.score.risk.curves import RiskCurves
from aicsched.score.utilisation import Utilisation
from tests.score_kit import POLICIES, REGIONS, plain_terms, power_share, random_nodes, random_pods

SPANS = (1.0, 4.0)


def engine_of(count: int = 40, seed: int = 0) -> tuple[ScoreEngine, dict[float, NodeColumns]]:
    spans = {hours: random_nodes(count, seed + place) for place, hours in enumerate(SPANS)}
    # The same machines over each span: only load, risk, intensity and prices differ.
    fixed = ("vcpus", "memory_gib", "idle_w", "max_w", "pue", "region")
    spans[4.0] = replace(spans[4.0], **{name: getattr(spans[1.0], name) for name in fixed})
    return ScoreEngine(spans, POLICIES, REGIONS), spans


def span_of(pods: PodColumns, pod: int) -> float:
    return next((hours for hours in SPANS if hours >= pods.duration_h[pod]), SPANS[-1])


@pytest.mark.parametrize("mode", ["numpy", "numba"])
@pytest.mark.parametrize("seed", range(3))
def test_every_pair_is_as_worked_out_one_by_one(
    mode: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AICSCHED_KERNELS", mode)
    engine, spans = engine_of(seed=seed)
    pods = random_pods(30, seed)
    totals, open_totals = engine.totals(pods), engine.totals(pods, refuse=False)
    seen = set()
    for pod in range(30):
        for node in range(40):
            wanted = plain_terms(spans[span_of(pods, pod)], pods, pod, node)
            assert totals[pod, node] == pytest.approx(sum(wanted.values()), rel=2e-7, abs=1e-4)
            total_g = sum(wanted[name] for name in TERM_NAMES)
            assert open_totals[pod, node] == pytest.approx(total_g, rel=2e-7, abs=1e-4)
            seen.add(np.isinf(totals[pod, node]))
    assert seen == {True, False}


@pytest.mark.parametrize("kernel", [SCORE_TOTALS, SCORE_TOTALS_SINGLE])
def test_both_forms_agree_to_the_last_bit(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = engine_of(700, seed=5)
    pods = random_pods(25, 5)
    made = []
    for mode, threads in (("numpy", "1"), ("numba", "1"), ("numba", "2")):
        monkeypatch.setenv("AICSCHED_KERNELS", mode)
        monkeypatch.setenv("AICSCHED_THREADS", threads)
        out = np.empty((25, 700), dtype=np.float64 if kernel is SCORE_TOTALS else np.float32)
        made.append(engine.totals(pods, out=out))
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])


@given(seed=st.integers(0, 10_000), pod=st.integers(0, 9), node=st.integers(0, 39))
@settings(max_examples=60, deadline=None)
def test_terms_add_up_to_the_total_exactly_and_are_ordered(seed: int, pod: int, node: int) -> None:
    engine, spans = engine_of(seed=seed)
    pods = random_pods(10, seed)
    terms = engine.terms(pods, [pod], [node])
    assert tuple(terms.grams) == TERM_NAMES
    assert terms.total_g[1, 0] == engine.totals(pods, refuse=False)[pod, node]
    for values in (*terms.grams.values(), terms.money_usd, terms.slo_risk, terms.energy_kwh, terms.total_g):
        low, mid, high = values[:, 0]
        assert low <= mid <= high
    wanted = plain_terms(spans[span_of(pods, pod)], pods, pod, node)
    for name, values in terms.grams.items():
        assert values[1, 0] == pytest.approx(wanted[name], rel=1e-6, abs=1e-4)


def test_terms_of_pairs_over_several_spans_stay_in_their_order() -> None:
    engine, _ = engine_of()
    pods = random_pods(20, 3)
    rng = np.random.default_rng(1)
    pod, node = rng.integers(0, 20, 200), rng.integers(0, 40, 200)
    terms = engine.terms(pods, pod, node)
    np.testing.assert_array_equal(terms.total_g[1], engine.totals(pods, refuse=False)[pod, node])


@pytest.mark.parametrize("mode", ["numpy", "numba"])
def test_the_best_are_those_of_sorting(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AICSCHED_KERNELS", mode)
    engine, _ = engine_of()
    pods = random_pods(30, 8)
    best = engine.top(pods, 7)
    totals = engine.totals(pods)
    for pod in range(30):
        order = [
            int(node) for node in np.argsort(totals[pod], kind="stable") if np.isfinite(totals[pod, node])
        ]
        wanted = (order + [-1] * 7)[:7]
        assert best.nodes[pod].tolist() == wanted
        assert best.total_g[pod].tolist() == [totals[pod, node] if node >= 0 else np.inf for node in wanted]
    assert (best.nodes == -1).any()
    assert engine.top(pods, 99).nodes.shape == (30, 40)


@given(
    st.lists(
        st.lists(st.sampled_from([1.0, 2.0, 3.0, np.inf]), min_size=6, max_size=6), min_size=1, max_size=4
    ),
    st.integers(1, 6),
)
@settings(max_examples=100, deadline=None)
def test_equals_keep_the_order_of_the_nodes(rows: list[list[float]], count: int) -> None:
    totals = np.array(rows)
    made = [np.empty((len(rows), count), dtype=np.int64) for _ in range(2)]
    SCORE_TOP.twin(totals, made[0])
    SCORE_TOP.loop(totals, made[1])
    np.testing.assert_array_equal(*made)


# ---------------------------------------------------------------- changes
def test_an_update_of_one_node_is_as_if_built_anew() -> None:
    engine, spans = engine_of()
    pods = random_pods(20, 4)
    totals = engine.totals(pods)
    one = {hours: random_nodes(1, 99 + place) for place, hours in enumerate(SPANS)}
    one = {hours: replace(columns, region=np.array([1])) for hours, columns in one.items()}
    engine.update(17, one)

    def joined(name: str, hours: float) -> Any:
        old, new = getattr(spans[hours], name), getattr(one[hours], name)
        if name == "used":
            parts = ("mean_share", "sd_share", "coverage_share")
            return Utilisation(**{part: put(getattr(old, part), getattr(new, part)) for part in parts})
        if name in {"curves", "memory_curves"}:
            return RiskCurves(extra_share=old.extra_share, risk=put(old.risk, new.risk))
        return put(old, new)

    def put(old: Any, new: Any) -> Any:
        made = np.array(old)
        if made.shape[0] == 4 and made.ndim == 2:
            made[:, 17] = new[:, 0]
        else:
            made[17] = new[0]
        return made

    names = NodeColumns.__dataclass_fields__
    anew = ScoreEngine(
        {hours: NodeColumns(**{name: joined(name, hours) for name in names}) for hours in SPANS},
        POLICIES,
        REGIONS,
    )
    np.testing.assert_array_equal(engine.totals(pods), anew.totals(pods))
    before = totals.copy()
    engine.rescore(pods, totals, 17)
    np.testing.assert_array_equal(totals, anew.totals(pods))
    others = np.arange(40) != 17
    np.testing.assert_array_equal(totals[:, others], before[:, others])
    assert (totals[:, 17] != before[:, 17]).any()


# ---------------------------------------------------------------- rules
def lone(**changes: Any) -> NodeColumns:
    """One plain node."""
    facts: dict[str, Any] = {"vcpus": [64.0], "idle_w": [100.0], "max_w": [420.0], "g_per_kwh": [400.0]}
    return NodeColumns.of(**(facts | changes))


def loaded(share: float, coverage: float = 1.0) -> Utilisation:
    return Utilisation(
        mean_share=np.array([share]), sd_share=np.array([0.05]), coverage_share=np.array([coverage])
    )


def pod(vcpus: float = 4.0, hours: float = 1.0, **more: Any) -> PodColumns:
    return PodColumns(vcpus=np.array([vcpus]), duration_h=np.array([hours]), **more)


def total(nodes: NodeColumns, pods: PodColumns, policy: ScoreWeights = POLICIES[0]) -> float:
    return float(ScoreEngine({24.0: nodes}, (policy,)).totals(pods)[0, 0])


@given(
    load=st.floats(0, 1), vcpus=st.floats(0.1, 60), hours=st.floats(0.1, 24), more=st.floats(1, 3),
    intensity=st.floats(0, 900),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_more_work_more_time_and_dirtier_power_never_cost_less(
    load: float, vcpus: float, hours: float, more: float, intensity: float
) -> None:
    nodes = lone(used=loaded(load), g_per_kwh=[intensity])
    base = total(nodes, pod(vcpus, hours))
    slack = 1e-9 * (1 + base)
    assert total(nodes, pod(vcpus, hours * more)) >= base - slack
    assert total(lone(used=loaded(load), g_per_kwh=[intensity * more]), pod(vcpus, hours)) >= base - slack
    if vcpus * more <= 64:
        assert total(nodes, pod(vcpus * more, hours)) >= base - slack


@given(load=st.floats(0.05, 1), vcpus=st.floats(0.1, 64), idle_w=st.floats(0, 300), risk_g=st.floats(0, 1e4))
@settings(max_examples=80, deadline=None)
def test_a_node_without_metrics_never_beats_its_twin_in_use(
    load: float, vcpus: float, idle_w: float, risk_g: float
) -> None:
    """The fault of scores that take missing metrics for an idle machine that costs nothing."""
    policy = ScoreWeights(risk_g=risk_g)
    facts = {"idle_w": [idle_w], "max_w": [idle_w + 320.0]}
    # The same curve for both: what is held here is the energy alone.
    curves = RiskCurves(extra_share=np.linspace(0, 1, 2), risk=np.array([[0.1, 0.9]]))
    dark = total(lone(used=Utilisation.unknown(1), curves=curves, **facts), pod(vcpus), policy)
    light = total(lone(used=loaded(load), curves=curves, **facts), pod(vcpus), policy)
    assert dark >= light - 1e-9 * light


def test_power_follows_the_published_points_and_goes_on_past_full_load() -> None:
    shape = load_shapes()[0]
    for load in (0.0, 0.05, 0.1, 0.37, 0.5, 0.81, 1.0, 1.7):
        assert float(shape.share_at(load)) == pytest.approx(power_share(load), abs=1e-12)


def test_units_by_hand() -> None:
    """100 % more load on an idle 64-thread machine for 2 h: 320 W × 1.5 × 2 h = 0.96 kWh."""
    curves = RiskCurves(extra_share=np.linspace(0, 1, 2), risk=np.zeros((1, 2)))
    nodes = lone(used=loaded(0.0), curves=curves, pue=[1.5], usd_per_kwh=[0.25])
    engine = ScoreEngine({2.0: nodes}, (ScoreWeights(g_per_usd=1000.0),))
    terms = engine.terms(pod(64.0, 2.0), [0], [0])
    assert terms.energy_kwh[1, 0] == pytest.approx(0.96)
    assert terms.grams["operational"][1, 0] == pytest.approx(384.0)
    assert terms.grams["idle_share"][1, 0] == pytest.approx(0.1 * 1.5 * 2 * 400)
    assert terms.money_usd[1, 0] == pytest.approx((0.96 + 0.3) * 0.25)
    assert terms.grams["money"][1, 0] == pytest.approx((0.96 + 0.3) * 0.25 * 1000)
    # A machine with a price holds its power: nothing is paid twice.
    rented = lone(used=loaded(0.0), curves=curves, pue=[1.5], usd_per_kwh=[0.25], usd_per_vcpu_h=[0.04])
    terms = ScoreEngine({2.0: rented}).terms(pod(64.0, 2.0), [0], [0])
    assert terms.money_usd[1, 0] == pytest.approx(64 * 2 * 0.04)
    assert terms.grams["money"][1, 0] == 0.0


def test_power_that_costs_less_than_nothing_keeps_its_ends_in_order() -> None:
    nodes = lone(used=loaded(0.3), usd_per_kwh=[-0.1], power_band=[[0.9], [1.2], [0.8], [1.3]])
    low, mid, high = ScoreEngine({2.0: nodes}).terms(pod(8.0, 2.0), [0], [0]).money_usd[:, 0]
    assert low < mid < high < 0


def test_unknown_prices_are_refused_only_where_money_is_weighed_and_some_are_known() -> None:
    some = NodeColumns.of(
        vcpus=[8, 8], idle_w=[9, 9], max_w=[90, 90], g_per_kwh=[100, 100], usd_per_kwh=[0.1, np.nan]
    )
    none = NodeColumns.of(vcpus=[8, 8], idle_w=[9, 9], max_w=[90, 90], g_per_kwh=[100, 100])
    weighed = (ScoreWeights(g_per_usd=100.0),)
    assert np.isinf(ScoreEngine({1.0: some}, weighed).totals(pod())[0]).tolist() == [False, True]
    assert np.isfinite(ScoreEngine({1.0: none}, weighed).totals(pod())).all()
    assert np.isfinite(ScoreEngine({1.0: some}).totals(pod())).all()
    # An update can't change what the others are held against.
    engine = ScoreEngine({1.0: some}, weighed)
    engine.update(0, {1.0: lone()})
    assert np.isinf(engine.totals(pod())).all()


# ---------------------------------------------------------------- bad input
def test_wrong_arrays_are_named() -> None:
    with pytest.raises(InputError, match="memory_gib of"):
        lone(memory_gib=[1.0, 2.0])
    with pytest.raises(InputError, match="pue of node 0 is not finite"):
        lone(pue=[np.nan])
    with pytest.raises(InputError, match=r"a not_ready of 1\.5"):
        lone(not_ready=[1.5])
    with pytest.raises(InputError, match="did you mean"):
        lone(pua=[1.0])
    with pytest.raises(InputError, match="node 0 has a vcpus of 0"):
        lone(vcpus=[0.0])
    with pytest.raises(InputError, match="2 risk curves and 1 of memory for 1"):
        lone(curves=RiskCurves(extra_share=np.linspace(0, 1, 2), risk=np.zeros((2, 2))))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"vcpus": [0.0]}, "a vcpus of 0"), ({"duration_h": [np.nan]}, "a duration_h of nan"),
        ({"memory_gib": [-1.0]}, "a memory_gib of -1"), ({"home": [-2]}, "a home of -2"),
        ({"policy": [0, 0]}, "policy of"),
    ],
)  # fmt: skip
def test_wrong_pods_are_named(bad: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        PodColumns(**({"vcpus": [1.0], "duration_h": [1.0]} | bad))


def test_what_the_engine_refuses() -> None:
    engine, _ = engine_of(4)
    pods = random_pods(3, 0)
    for bad in (np.empty((3, 5)), np.empty((3, 4), dtype=np.int64), np.empty((4, 3)).T):
        with pytest.raises(InputError, match="totals of 3 pods on 4 nodes"):
            engine.totals(pods, out=bad)
    with pytest.raises(InputError, match="policy 3 of 3"):
        engine.totals(pod(policy=np.array([3])))
    with pytest.raises(InputError, match="no node 4"):
        engine.rescore(pods, np.empty((3, 4)), 4)
    with pytest.raises(InputError, match="best 0"):
        engine.top(pods, 0)
    with pytest.raises(InputError, match="pairs of"):
        engine.terms(pods, [0], [4])
    with pytest.raises(InputError, match="an update of node 0 over spans"):
        engine.update(0, {1.0: random_nodes(1, 0)})
    with pytest.raises(InputError, match="risk curves of 5 points among others of 9"):
        engine.update(0, {hours: random_nodes(1, 0, points=5) for hours in SPANS})
    with pytest.raises(InputError, match="in region 7 of 3"):
        engine.update(0, {hours: random_nodes(1, 0, region=[7]) for hours in SPANS})
    with pytest.raises(InputError, match="at least one of each"):
        ScoreEngine({})
    with pytest.raises(InputError, match="policies of different thresholds"):
        ScoreEngine({1.0: lone()}, (ScoreWeights(), ScoreWeights(cpu_limit_share=0.5)))
    with pytest.raises(InputError, match="give regions="):
        ScoreEngine({1.0: lone()}, (ScoreWeights(regions=("north",)),))


def test_requests_become_columns() -> None:
    work = [
        Request(vcpus=2, duration_s=1800, home_region="south", data_gb=3),
        Request(vcpus=1, duration_s=60),
    ]
    pods = PodColumns.of(work, REGIONS, [1, 0])
    assert pods.packed().tolist() == [[2, 0, 0.5, 3, 1, 1], [1, 0, 1 / 60, 0, -1, 0]]
    with pytest.raises(InputError, match="did you mean north"):
        PodColumns.of([Request(vcpus=1, duration_s=1, home_region="nroth")], REGIONS)


def test_no_nodes_and_no_pods() -> None:
    engine = ScoreEngine({1.0: NodeColumns.of(vcpus=[], idle_w=[], max_w=[], g_per_kwh=[])})
    assert engine.totals(pod()).shape == (1, 0)
    assert engine.top(pod(), 3).nodes.shape == (1, 0)
    nothing = PodColumns(vcpus=np.empty(0), duration_h=np.empty(0))
    assert ScoreEngine({1.0: lone()}).totals(nothing).shape == (0, 1)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"pue": [0.1]}, "pue of 0.1"),
        ({"g_per_kwh": [-50.0]}, "mid_g_per_kwh of -50"),
        ({"idle_w": [500.0]}, "idle_w of 500"),
        ({"transfer_g_per_gb": [-9.0]}, "transfer_g_per_gb of -9"),
    ],
)
def test_impossible_facts_of_nodes_give_no_numbers(facts: dict[str, list[float]], words: str) -> None:
    usual = {"vcpus": [8.0], "idle_w": [50.0], "max_w": [200.0], "g_per_kwh": [100.0]}
    with pytest.raises(InputError, match=words):
        NodeColumns.of(**(usual | facts))


def test_the_first_price_needs_a_new_engine() -> None:
    usual = {"idle_w": [50.0, 50.0], "max_w": [200.0, 200.0], "g_per_kwh": [100.0, 100.0]}
    engine = ScoreEngine({1.0: NodeColumns.of(vcpus=[8.0, 8.0], **usual)}, (ScoreWeights(g_per_usd=5000.0),))
    one = {name: value[:1] for name, value in usual.items()}
    priced = NodeColumns.of(vcpus=[8.0], usd_per_vcpu_h=[0.05], **one)
    with pytest.raises(InputError, match="make a new engine"):
        engine.update(0, {1.0: priced})
