"""The pictures of the proof: prices of limits, and the gap as it closed."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.image import imread

from aicsched.place.caps import Cap
from aicsched.place.problem import build_problem
from aicsched.place.solve import solve
from aicsched.report.html import render
from aicsched.report.proof_figures import closing_gap, draw_proof, price_map
from aicsched.report.tables import caps
from tests.place_kit import CURVES, GRID, crowd, fleet
from tests.unit.test_report_page import DATA, PLAN, make_data

if TYPE_CHECKING:
    from aicsched.domain.placement import Placement
    from aicsched.report.model import ReportData

THIN = "\u202f"
TRACE = ((float("inf"), 150.0), (900.0, 190.0), (500.0, 195.0), (400.0, 200.0))


def proven(**changes: object) -> ReportData:
    prices = {"se": (0.0,) * 18 + (0.5, 1.5) + (0.0,) * 28, "de": (0.0,) * 48}
    proof = replace(PLAN.certificate, trace=TRACE, objective_g=400.0)
    placement = replace(PLAN, prices_g_per_vcpu_h=prices, certificate=proof)
    cap = Cap(region="se", worth_g=200.0, g_per_more_vcpu=2.0, binding_slots=2, fullest_slots=(19, 18))
    free = Cap(region="de", worth_g=0.0, g_per_more_vcpu=0.0, binding_slots=0, fullest_slots=())
    return make_data(**({"placement": placement, "caps": (cap, free)} | changes))


def words(svg: str) -> str:
    return " ".join(ET.fromstring(svg).itertext()).replace(THIN, " ")


def test_pictures_have_names_units_and_the_look_of_the_page() -> None:
    made = draw_proof(proven())
    assert set(made) == {"prices", "gap"}
    for svg in made.values():
        root = ET.fromstring(svg)
        assert root.get("role") == "img"
        assert root.get("width") is None
        assert len(svg) < 80_000
    assert ET.fromstring(made["prices"]).get("aria-label") == "Price of a vCPU-hour per region and hour"
    assert ET.fromstring(made["gap"]).get("aria-label") == "Best plan and proven bound, stage by stage"
    for text in ("se", "de", "pl", "g CO₂e per vCPU-hour; blank: no price", "1.5", "2 g", "1 Jul"):
        assert text in words(made["prices"]), text
    for text in ("stage of the search", "g CO₂e (forecast)", "proven bound: 200 g, gap 100.00 %",
                 "best plan so far: 400 g at the end"):  # fmt: skip
        assert text in words(made["gap"]), text


def test_the_price_map_colours_the_slots_with_a_price_and_no_others() -> None:
    png = re.findall(r"data:image/png;base64,([^\"]+)", price_map(proven()))[0]
    pixels = np.asarray(imread(io.BytesIO(base64.b64decode(png))))
    # Cleanest on top is se: two of 48 slots of one of three rows.
    height, width = pixels.shape[:2]
    seen = pixels[..., 3] > 0.5
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    top_down = {float(rows.min()) / height, 1 - float(rows.max() + 1) / height}
    assert min(top_down) == pytest.approx(0.0, abs=0.05)
    assert len(rows) / height == pytest.approx(1 / 3, abs=0.05)
    assert columns.min() / width == pytest.approx(18 / 48, abs=0.01)
    assert (columns.max() + 1) / width == pytest.approx(20 / 48, abs=0.01)


def test_the_gap_is_drawn_from_the_trace_with_what_is_unknown_left_out() -> None:
    svg = closing_gap(proven())
    style = r"<path d=\"([^\"]*)\"[^>]*stroke: (#0072b2|#5b616b)"
    lines = {colour: path for path, colour in re.findall(style, svg) if path.count("L") >= 2}
    points = {
        colour: np.array([[float(x) for x in pair] for pair in re.findall(r"([\d.]+) ([\d.]+)", path)])
        for colour, path in lines.items()
    }
    best, bound = points["#0072b2"], points["#5b616b"]
    assert (len(best), len(bound)) == (3, 4)
    # Down is up in SVG; one scale for both lines.
    per_g = (best[1, 1] - best[0, 1]) / (900.0 - 500.0)
    assert (best[2, 1] - best[1, 1]) / per_g == pytest.approx(100.0, abs=1.0)
    assert (bound[3, 1] - best[2, 1]) / per_g == pytest.approx(200.0, abs=1.0)
    assert (bound[0, 1] - bound[3, 1]) / per_g == pytest.approx(50.0, abs=1.0)
    assert np.diff(bound[:, 0]) == pytest.approx(np.diff(bound[:, 0])[0], abs=0.05)


def test_nothing_to_show_is_no_picture_and_no_section() -> None:
    assert draw_proof(DATA) == {}
    assert "What limits the plan" not in render(DATA)
    text = render(proven())
    assert "What limits the plan" in text
    assert text.count('<div class="paper">') == render(DATA).count('<div class="paper">') + 2
    one = replace(PLAN, certificate=replace(PLAN.certificate, trace=TRACE[:1]))
    assert draw_proof(make_data(placement=one)) == {}


def test_unknown_bounds_and_flat_traces_still_give_a_picture() -> None:
    def drawn(*trace: tuple[float, float], bound_g: float = 1.0) -> str:
        proof = replace(PLAN.certificate, trace=trace, lower_bound_g=bound_g)
        return words(closing_gap(make_data(placement=replace(PLAN, certificate=proof))))

    blank = (float("inf"), float("-inf"))
    assert "proven bound: \u2013" in drawn(blank, blank, bound_g=float("-inf"))
    assert "best plan so far: 5" in drawn((5.0, 5.0), (5.0, 5.0))
    assert "best plan so far: 0 g" in drawn((0.0, 0.0), (0.0, 0.0), bound_g=0.0)


def test_the_table_of_limits_holds_what_binds() -> None:
    found = caps(proven())
    assert found.rows == (("se", f"200{THIN}g", "2 g", "2", "1 Jul 19:00, 1 Jul 18:00"),)
    assert [name for name, _ in found.columns][:3] == [
        "Region", "Limit costs [CO₂e]", "One more vCPU saves at most [CO₂e]",
    ]  # fmt: skip
    assert "One more vCPU saves at most" in render(proven())


def test_equal_facts_give_equal_pages() -> None:
    assert render(proven()) == render(proven())


def test_a_search_tells_every_stage_alike_and_never_loses_what_it_has() -> None:
    def traced() -> tuple[Placement, list[tuple[float, float]]]:
        seen: list[tuple[float, float]] = []
        problem = build_problem(crowd(), fleet(24.0, 24.0), CURVES, GRID)
        return solve(problem, progress=lambda best_g, bound_g: seen.append((best_g, bound_g))), seen

    (plan, seen), (_, again) = traced(), traced()
    assert seen == again
    assert len(seen) >= 3
    best, bound = np.array(seen).T
    assert (np.diff(best) <= 0).all()
    assert (np.diff(bound) >= 0).all()
    assert bound[-1] > bound[0]
    assert best[-1] == pytest.approx(plan.total_g, rel=1e-9)
