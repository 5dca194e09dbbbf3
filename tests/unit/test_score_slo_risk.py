"""The risk of a breach against scipy's distributions, closed queueing formulas and a simulated queue."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaincc

from aicsched.score.slo_risk import (
    Objectives,
    beta_tail,
    breach_risk,
    erlang_c,
    latency_limit_share,
    latency_tail,
    limit_shares,
)  # fmt: skip


@given(mean=st.floats(0.02, 0.98), spread=st.floats(0.02, 0.95), limit=st.floats(0.01, 0.99))
@settings(max_examples=200, deadline=None)
def test_beta_tail_is_the_incomplete_beta_function(mean: float, spread: float, limit: float) -> None:
    sd = math.sqrt(mean * (1 - mean)) * spread
    size = mean * (1 - mean) / sd**2 - 1
    wanted = betaincc(mean * size, (1 - mean) * size, limit)
    assert float(beta_tail(mean, sd, limit)) == pytest.approx(float(wanted), abs=1e-9)


@given(mean=st.floats(0.05, 0.95), sd=st.floats(0.01, 0.3), low=st.floats(-0.5, 1.5), step=st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_a_higher_limit_breaks_less(mean: float, sd: float, low: float, step: float) -> None:
    assert 0 <= float(beta_tail(mean, sd, low + step)) <= float(beta_tail(mean, sd, low)) + 1e-12 <= 1 + 1e-12


def test_limits_outside_the_range() -> None:
    assert beta_tail([0.5, 0.5, 0.5], 0.1, [-0.1, 0.0, 1.0]).tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(("servers", "load"), [(1, 0.3), (2, 0.7), (5, 0.9), (40, 0.95), (128, 0.5)])
def test_erlang_c_is_the_sum_of_its_definition(servers: int, load: float) -> None:
    a = servers * load
    terms = [math.exp(n * math.log(a) - math.lgamma(n + 1)) for n in range(servers)]
    last = math.exp(servers * math.log(a) - math.lgamma(servers + 1)) / (1 - load)
    assert erlang_c(servers, load) == pytest.approx(last / (sum(terms) + last), rel=1e-10)


def test_erlang_c_at_its_ends() -> None:
    assert (erlang_c(4, 0.0), erlang_c(4, 1.0), erlang_c(4, 2.0)) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize(("load", "limit_ms"), [(0.2, 30.0), (0.5, 50.0), (0.8, 100.0), (0.95, 20.0)])
def test_mm1_response_time_is_exponential(load: float, limit_ms: float) -> None:
    objectives = Objectives(latency_limit_ms=limit_ms, service_scv=1.0)
    wanted = math.exp(-(1 - load) * limit_ms / 10.0)
    assert latency_tail(1, load, objectives) == pytest.approx(wanted, abs=1e-4)


def simulated(servers: int, load: float, service: np.ndarray) -> np.ndarray:
    """Lead calls of given service times through a queue; return how long each took."""
    rng = np.random.default_rng(1)
    arrivals = np.cumsum(rng.exponential(service.mean() / (servers * load), len(service)))
    free, took = [0.0] * servers, np.empty(len(service))
    for call, (arrival, need) in enumerate(zip(arrivals.tolist(), service.tolist(), strict=True)):
        begin = max(arrival, heapq.heappop(free))
        heapq.heappush(free, begin + need)
        took[call] = begin + need - arrival
    return took


def test_the_tail_is_near_that_of_a_simulated_queue() -> None:
    """Allen-Cunneen against 200,000 calls through eight threads with gamma service."""
    took = simulated(8, 0.9, np.random.default_rng(1).gamma(0.5, 20.0, 200_000))
    got = latency_tail(8, 0.9, Objectives(latency_limit_ms=50.0))
    assert got == pytest.approx((took > 50.0).mean(), rel=0.25)


@pytest.mark.parametrize("kind", ["gamma", "lognormal"])
def test_heavy_service_times_are_told_by_their_variation(kind: str) -> None:
    scv, rng, count = 8.0, np.random.default_rng(2), 200_000
    width = math.log1p(scv)
    service = (
        rng.gamma(1 / scv, scv, count)
        if kind == "gamma"
        else np.exp(rng.normal(-width / 2, math.sqrt(width), count))
    )
    p99 = float(np.quantile(simulated(4, 0.7, service), 0.99))
    heavy = Objectives(latency_limit_ms=p99, service_ms=1.0, service_scv=scv)
    # Heavy tails make the simulated p99 itself uncertain; light ones would be a hundred times off.
    assert 0.003 < latency_tail(4, 0.7, heavy) < 0.03
    assert latency_tail(4, 0.7, heavy._replace(service_scv=1.0)) < 1e-4


def test_the_limit_is_where_the_p99_meets_the_objective() -> None:
    objectives = Objectives()
    for servers in (1, 2, 8, 64, 256):
        limit = latency_limit_share(servers, objectives)
        assert 0 < limit < 1
        assert (
            latency_tail(servers, limit, objectives) <= 0.01 < latency_tail(servers, limit + 1e-6, objectives)
        )
    shares = [latency_limit_share(servers, objectives) for servers in (1, 2, 8, 64, 256)]
    assert shares == sorted(shares)


def test_a_service_that_is_too_slow_alone_always_breaks() -> None:
    assert latency_limit_share(8, Objectives(service_ms=90.0)) == 0.0
    assert latency_tail(8, 1.0, Objectives()) == 1.0


def test_small_nodes_queue_and_large_ones_saturate() -> None:
    limits = limit_shares(np.array([0.5, 1.0, 2.0, 64.0, 64.0]), Objectives())
    assert limits[0] == limits[1] < limits[2] < limits[3] == limits[4] == 0.8


def risk(mean: float, sd: float, coverage: float, extra: float) -> float:
    columns = [np.array([value, 0.4]) for value in (mean, sd, coverage, extra)]
    columns[2][1] = 1.0
    return float(breach_risk(*columns[:3], extra_share=columns[3], limit_share=np.array([0.8, 0.8]))[0])


@given(mean=st.floats(0, 1), sd=st.floats(0, 0.5), coverage=st.floats(0, 1), extra=st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_risk_is_a_probability_that_rises_with_the_request(
    mean: float, sd: float, coverage: float, extra: float
) -> None:
    value = risk(mean, sd, coverage, extra)
    assert 0 <= value <= 1
    assert risk(mean, sd, coverage, min(1.0, extra + 0.1)) >= value - 1e-12


def test_the_request_is_part_of_the_load() -> None:
    assert risk(0.5, 0.05, 1.0, 0.0) < 1e-6
    assert risk(0.5, 0.05, 1.0, 0.3) == pytest.approx(0.5, abs=0.01)


def test_an_unknown_node_is_no_better_than_the_median_of_the_known() -> None:
    means = np.array([0.9, 0.95, 0.9, 0.0])
    zeros, coverage = np.zeros(4), np.array([1.0, 1.0, 1.0, 0.0])
    got = breach_risk(means, zeros, coverage, extra_share=zeros + 0.1, limit_share=zeros + 0.8)
    assert got[3] == pytest.approx(np.median(got[:3])) == pytest.approx(1.0)


def test_with_nothing_known_the_prior_is_uniform() -> None:
    none = np.zeros(1)
    got = breach_risk(none, none, none, extra_share=none + 0.1, limit_share=none + 0.8)
    assert got[0] == pytest.approx(0.3)
