from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicsched.account.decisions import decisions_from
from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.forecast import Forecast
from aicsched.domain.job import Job
from aicsched.domain.placement import Assignment, Certificate, Placement
from aicsched.domain.score import ScoreCard, ScoreTerm
from aicsched.errors import OutputError
from aicsched.place.pareto import ParetoPoint
from aicsched.report import figures
from aicsched.report.aggregate import (
    emissions_by_region_g,
    emissions_by_slot_g,
    region_order,
    slot_wait_h,
    telling_zones,
    work_vcpus,
)
from aicsched.report.html import headline, render, write_report
from aicsched.report.labels import LETTER_IN, LINE_IN, spread
from aicsched.report.model import AccuracyRow, Candidate, ReportData
from aicsched.report.tables import Table, decisions, policies, recycle
from aicsched.report.words import NOT_KNOWN, mass, number, percent, short
from aicsched.slots import HOUR_S, SlotGrid

NOW_S = 1_751_328_000  # 2025-07-01T00:00Z
GRID = SlotGrid(NOW_S, HOUR_S, 48)
EVIL = "<script>alert('x')</script>&\"'"
THIN = "\u202f"


def series(zone: str, level: float, start_s: int, count: int) -> CarbonSeries:
    slots = SlotGrid(start_s, HOUR_S, count)
    hours = slots.starts_s() / HOUR_S
    return CarbonSeries(
        grid_zone=zone, kind=IntensityKind.AVERAGE, slots=slots, source=f"file:{zone}.csv",
        values_g_per_kwh=level * (1 + 0.3 * np.sin(hours / 24 * 2 * np.pi)),
    )  # fmt: skip


def forecast(zone: str, level: float) -> Forecast:
    mean = series(zone, level, NOW_S, 48).values_g_per_kwh
    return Forecast(
        grid_zone=zone, kind=IntensityKind.AVERAGE, slots=GRID, issue_time_s=NOW_S, mean_g_per_kwh=mean,
        levels=(0.1, 0.5, 0.9), quantiles_g_per_kwh=np.array([0.8 * mean, mean, 1.2 * mean]), model="ridge",
        source=f"file:{zone}.csv",
    )  # fmt: skip


LEVELS = {"DE": 400.0, "SE": 30.0, "PL": 700.0}
FORECASTS = {zone: forecast(zone, level) for zone, level in LEVELS.items()}
FLEET = Fleet(
    regions=tuple(
        Region(name=zone.lower(), grid_zone=zone, capacity_vcpus=100, power_w_per_vcpu=5, pue=1.2)
        for zone in LEVELS
    )
)
JOBS = tuple(
    Job(job_id=f"job-{n:02d}", vcpus=10, duration_s=2 * HOUR_S, release_s=NOW_S, deadline_s=GRID.end_s,
        home_region="de" if n % 2 else "pl")
    for n in range(60)
)  # fmt: skip


def plan(
    policy: str, region: str | None, slot: int, transfer_g: float = 0.0, bound_g: float = -np.inf
) -> Placement:
    rows: list[Assignment] = []
    for job in JOBS:
        name = region or job.home_region
        slots = (slot, slot + 1)
        grams = float(FORECASTS[name.upper()].mean_g_per_kwh[list(slots)].mean() * 0.12)
        rows.append(
            Assignment(
                job_id=job.job_id, region=name, slot_indices=slots, operational_g=grams, transfer_g=transfer_g
            )
        )
    proof = Certificate(
        status="bounded",
        objective_g=sum(row.total_g for row in rows),
        lower_bound_g=bound_g,
        method="column generation",
    )
    return Placement(
        policy=policy, slots=GRID, assignments=tuple(rows), certificate=proof, prices_g_per_vcpu_h={}
    )


PLAN = plan("optimal", "se", 18, transfer_g=1.0, bound_g=200.0)
NO_WAIT = plan("no_wait", None, 0)
CARD = ScoreCard(
    candidate="node-1",
    candidate_kind="node",
    request="8 vCPUs for 4 h",
    terms=(ScoreTerm(name="operational", low_g=80, mid_g=100, high_g=130),),
    slo_risk=0.02,
)


def make_data(**changes: Any) -> ReportData:
    facts: dict[str, Any] = {
        "title": "Carbon plan",
        "now_s": NOW_S,
        "fleet": FLEET,
        "jobs": JOBS,
        "history": {zone: series(zone, level, NOW_S - 240 * HOUR_S, 240) for zone, level in LEVELS.items()},
        "future": {zone: series(zone, level * 1.1, NOW_S, 30) for zone, level in LEVELS.items()},
        "forecasts": FORECASTS,
        "placement": PLAN,
        "baselines": {"no_wait": NO_WAIT, "lowest_slot": plan("lowest_slot", None, 18)},
        "mean_delay_h": {"optimal": 18.0, "no_wait": 0.0, "lowest_slot": 18.0},
        "realised_g": {"optimal": 300.0, "no_wait": 5000.0},
        "decisions": decisions_from(
            placement=PLAN, baseline=NO_WAIT, jobs=JOBS, fleet=FLEET, forecasts=FORECASTS, decided_at_s=NOW_S
        ),
        "unplaced": {"lowest_window": "no room"},
        "accuracy": (
            AccuracyRow(
                grid_zone="DE",
                mape_percent=(8.1, 9.2),
                mae_g_per_kwh=23.4,
                coverage80_share=0.81,
                concordance_share=0.9,
            ),
        ),
        "accuracy_note": "7 days",
        "pareto": tuple(
            ParetoPoint(
                waiting_share=x, mean_delay_h=18 * x, total_g=900 - 500 * x, lower_bound_g=880 - 500 * x
            )
            for x in (0.0, 0.5, 1.0)
        ),
        "best": (Candidate(card=CARD, sentence="clean power"),),
        "worst": (Candidate(card=replace(CARD, refusals=("is full",))),),
        "backends": (Candidate(card=replace(CARD, candidate="qpu-1", candidate_kind="quantum")),),
        "recycle": ({"Node": "n1", "Disposition": "tag"}, {"Node": "n2"}),
        "ledger_path": "out/ledger.db",
        "ledger_head": "ab" * 32,
        "notes": ("a note",),
        "sources": ("file:DE.csv",),
    }
    return ReportData(**facts | changes)


DATA = make_data()


@pytest.fixture(scope="module")
def page() -> str:
    return render(DATA)


class Page(HTMLParser):
    """Collects tags and text, and refuses what is not nested well."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words).replace(THIN, " "))


# ---------------------------------------------------------------- the page as a whole
def test_the_page_is_well_formed_and_loads_nothing(page: str) -> None:
    found = Page(page)
    names = {tag for tag, _ in found.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base", "img"}
    for tag, attributes in found.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), tag
            if name in {"src", "href", "xlink:href", "action", "data"}:
                assert (value or "").startswith(("#", "data:image/png;base64,")), (tag, value)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    # Addresses appear only as names of XML vocabularies.
    assert set(re.findall(r"https?://[^\s\"'<)]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_the_policy_forbids_everything_but_its_own_style_and_pictures(page: str) -> None:
    rules = [
        item["content"] for _, item in Page(page).tags if item.get("http-equiv") == "Content-Security-Policy"
    ]
    assert rules == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_no_id_stands_for_two_things(page: str) -> None:
    # matplotlib writes a marker's shape once per use: the same id must then be the same shape.
    seen: dict[str, str] = {}
    for found in re.finditer(r"<(\w+) id=\"([^\"]+)\"(.*?)>", page, re.DOTALL):
        assert seen.setdefault(found[2], found[3]) == found[3]


def test_equal_facts_give_equal_bytes_in_other_processes(page: str) -> None:
    code = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); import test_report_page as t;"
        "print(hashlib.sha256(t.render(t.DATA).encode()).hexdigest())"
    )
    environment = os.environ | {"PYTHONHASHSEED": "77"}
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    import hashlib

    assert done.stdout.strip() == hashlib.sha256(page.encode()).hexdigest()


def test_every_text_of_the_user_is_escaped() -> None:
    jobs = (replace(JOBS[0], job_id=EVIL, home_region=EVIL), *JOBS[1:])
    row = replace(PLAN.assignments[0], job_id=EVIL)
    placement = replace(PLAN, policy=EVIL, assignments=(row, *PLAN.assignments[1:]))
    first = replace(NO_WAIT.assignments[0], job_id=EVIL, region=EVIL)
    no_wait = replace(NO_WAIT, assignments=(first, *NO_WAIT.assignments[1:]))
    fleet = Fleet(regions=(*FLEET.regions, replace(FLEET.regions[0], name=EVIL)))
    card = replace(CARD, candidate=EVIL, candidate_kind=EVIL, refusals=(EVIL,))
    data = make_data(
        title=EVIL, jobs=jobs, fleet=fleet, placement=placement,
        baselines={"no_wait": no_wait, EVIL: replace(no_wait, policy=EVIL + "2")},
        mean_delay_h={EVIL: 1.0, "no_wait": 0.0, EVIL + "2": 0.0},
        forecasts={zone: replace(item, model=EVIL) for zone, item in FORECASTS.items()},
        decisions=tuple(replace(item, subject=EVIL, region=EVIL, reason=EVIL) for item in DATA.decisions[:2]),
        best=(Candidate(card=replace(CARD, candidate=EVIL), sentence=EVIL),), worst=(Candidate(card=card),),
        recycle=({EVIL: EVIL},), notes=(EVIL,), sources=(EVIL,), ledger_path=EVIL, ledger_head=EVIL,
        unplaced={EVIL: EVIL}, accuracy=(replace(DATA.accuracy[0], grid_zone=EVIL),), accuracy_note=EVIL,
    )  # fmt: skip
    text = render(data)
    assert "<script" not in text.lower()
    assert "alert('x')</" not in text
    assert not {tag for tag, _ in Page(text).tags} & {"script"}
    assert Page(text).text.count("alert('x')") >= 20


# ---------------------------------------------------------------- what it says
def test_headline_and_tiles_are_the_plans_numbers(page: str) -> None:
    total_g = sum(row.operational_g + row.transfer_g for row in PLAN.assignments)
    base_g = sum(row.operational_g for row in NO_WAIT.assignments)
    words = headline(DATA).replace(THIN, " ")
    assert words.startswith(f"The plan emits {total_g:.0f} g of CO₂e instead of {base_g / 1000:.2f} kg")
    assert f"({1 - total_g / base_g:.0%}".replace("%", " %)") in words
    assert f"provably within {(total_g - 200) / 200:.2%}".replace("%", " %") in words
    text = Page(page).text
    assert f"{1 - total_g / base_g:.1%}".replace("%", " %") + " less carbon than no-wait" in text.replace(
        "  ", " "
    )
    assert re.search(r"94\.0 % +less in hindsight +4\.70 kg of 5\.00 kg", text)
    assert re.search(r"18\.0 h +mean wait", text)
    assert re.search(r"60 +jobs placed", text)
    assert "ab" * 32 in text
    assert "a note" in text
    assert "file:DE.csv" in text
    assert "1 July 2025, 00:00 UTC for 48 h: 60 jobs, 3 regions, average carbon intensity" in text


def test_headlines_without_a_baseline_without_a_bound_and_of_a_loss() -> None:
    alone = headline(make_data(baselines={}))
    assert "at once at home is not possible" in alone
    unproven = replace(PLAN, certificate=replace(PLAN.certificate, lower_bound_g=float("-inf")))
    assert "without a proven bound" in headline(make_data(placement=unproven))
    worse = headline(
        make_data(
            placement=replace(NO_WAIT, policy="optimal"),
            baselines={"no_wait": replace(PLAN, policy="no_wait")},
        )
    )
    assert " more than starting" in worse
    nothing = replace(
        NO_WAIT, assignments=tuple(replace(row, operational_g=0.0) for row in NO_WAIT.assignments)
    )
    assert f"0{THIN}g" in headline(make_data(placement=nothing, baselines={"no_wait": nothing}))


def test_synthetic_data_is_labelled_on_top_and_under_each_picture(page: str) -> None:
    assert "Synthetic data" not in page
    text = render(make_data(synthetic=True))
    assert text.index("Synthetic data.") < text.index('class="tiles"')
    assert text.count("Synthetic data.") == 1 + text.count("<figure>")


def test_the_table_of_policies_is_sorted_and_complete() -> None:
    found = policies(DATA)
    names = [row[0] for row in found.rows]
    assert names == ["plan", "lowest-slot", "no-wait (at once, at home)", "lowest-window"]
    assert (found.strong, found.rows[3][1]) == (0, "no feasible plan")
    by_hand = PLAN.total_g / 1000
    assert found.rows[0][1] == f"{by_hand:.2f}"
    assert found.rows[0][3:5] == ("0.30", f"94.0{THIN}%")
    assert found.rows[1][3:5] == (NOT_KNOWN, NOT_KNOWN)
    assert found.rows[0][5] == "18.0"


def test_the_table_of_decisions_holds_each_one_and_its_numbers(page: str) -> None:
    found = decisions(DATA)
    assert len(found.rows) == 60
    assert {row[0] for row in found.rows} == {job.job_id for job in JOBS}
    first = max(DATA.decisions, key=lambda item: (item.avoided_g, item.subject))
    assert found.rows[0][1] == "pl → se"
    assert found.rows[0][6] == f"{first.avoided_g:.2f}"
    assert float(found.rows[0][5]) - float(found.rows[0][4]) == pytest.approx(
        float(found.rows[0][6]), abs=0.11
    )
    assert found.rows[0][2] == "1 Jul 18:00"
    assert "10 more rows" in Page(page).text
    for job in JOBS:
        assert f">{job.job_id}</th>" in page


def test_sections_without_facts_are_left_out() -> None:
    bare = make_data(
        future={}, realised_g={}, unplaced={}, accuracy=(), accuracy_note="", pareto=(), best=(),
        worst=(), backends=(), recycle=(), ledger_path="", ledger_head="", notes=(), sources=(),
        baselines={}, mean_delay_h={}, decisions=(),
    )  # fmt: skip
    text = Page(render(bare)).text
    for words in ("Hardware to give up", "Special hardware", "Best and worst", "Forecasts tried",
                  "Sources", "ledger", "hindsight", "mean wait of a job", "orange"):  # fmt: skip
        assert words not in text, words
    unproven = replace(PLAN, certificate=replace(PLAN.certificate, lower_bound_g=float("-inf")))
    assert "no bound" in render(make_data(placement=unproven))
    assert recycle(bare).rows == ()


def test_recommendations_are_shown_as_they_are() -> None:
    found = recycle(DATA)
    assert found == Table(
        caption=found.caption,
        columns=(("Node", "name"), ("Disposition", "text")),
        rows=(("n1", "tag"), ("n2", "")),
        first=20,
    )


# ---------------------------------------------------------------- pictures
def test_pictures_are_xml_with_units_and_texts() -> None:
    made = figures.draw_all(DATA)
    assert set(made) == {"placement", "regions", "hourly", "forecast", "pareto"}
    for name, svg in made.items():
        root = ET.fromstring(svg)
        assert root.tag.endswith("svg")
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert root.get("viewBox")
        assert root.get("width") is None, "the page decides the size"
        assert "metadata" not in svg
        assert len(svg) < 80_000, name
    texts = {name: " ".join(ET.fromstring(svg).itertext()) for name, svg in made.items()}
    assert "g CO₂e per kWh" in texts["forecast"]
    for words in ("SE  (se)", "measured past", "forecast, 80 % band", "what happened", "30 Jun"):
        assert words in texts["forecast"]
    for words in (
        "Before: every job at once at home",
        "After: the plan",
        "g CO₂e per kWh (forecast)",
        "vCPUs",
    ):
        assert words in texts["placement"]
    assert "kg CO₂e over the plan (forecast)" in texts["regions"]
    assert f"{PLAN.total_g / 1000:,.1f} kg after" in texts["regions"]
    assert "kg CO₂e per hour" in texts["hourly"]
    for words in (
        "mean wait of a job beyond its own length [h]",
        "kg CO₂e (forecast)",
        "proven bound",
        "lowest-slot",
    ):
        assert words in texts["pareto"]


def test_pictures_can_do_without_future_baseline_band_and_history() -> None:
    flat = {
        zone: replace(item, levels=(0.5,), quantiles_g_per_kwh=item.mean_g_per_kwh[None, :])
        for zone, item in FORECASTS.items()
    }
    bare = make_data(future={}, history={}, baselines={}, forecasts=flat, mean_delay_h={})
    made = figures.draw_all(bare)
    assert "what happened" not in made["forecast"]
    assert ">before<" not in made["hourly"]
    assert "Before:" not in made["placement"]
    unknown = series("SE", 30.0, NOW_S, 30)
    unknown = replace(unknown, values_g_per_kwh=np.full(30, np.nan), quality=None)
    assert "<svg" in figures.forecast_fan(make_data(future={"SE": unknown}))


def test_nothing_emitted_still_gives_pictures() -> None:
    zero = {zone: forecast(zone, 0.0) for zone in LEVELS}
    nothing = replace(
        PLAN, assignments=tuple(replace(row, operational_g=0.0, transfer_g=0.0) for row in PLAN.assignments)
    )
    before = {"no_wait": replace(nothing, policy="no_wait")}
    data = make_data(forecasts=zero, placement=nothing, baselines=before, pareto=(), history={}, future={})
    assert set(figures.draw_all(data)) == {"placement", "regions", "hourly", "forecast"}


def test_labels_of_near_policies_do_not_overlap() -> None:
    near = {f"policy_{n}": replace(NO_WAIT, policy=f"policy_{n}") for n in range(4)}
    data = make_data(baselines=near, mean_delay_h=dict.fromkeys(near, 1.0) | {"optimal": 18.0})
    root = ET.fromstring(figures.pareto_front(data))
    labels = [item for item in root.iter() if "policy" in (item.text or "")]
    spots = [(float(item.attrib["x"]), float(item.attrib["y"])) for item in labels]
    assert len(spots) == 4
    for index, (x, y) in enumerate(spots):
        for other_x, other_y in spots[index + 1 :]:
            assert abs(y - other_y) > 9 or abs(x - other_x) > 60  # the size of the letters


POINT = st.tuples(st.floats(0, 8), st.floats(0, 3))
NAME = st.text("abc", min_size=1, max_size=20)


@given(POINT, POINT, NAME, NAME)
def test_two_names_always_find_room(
    one: tuple[float, float], two: tuple[float, float], first: str, second: str
) -> None:
    places = spread([one, two], [first, second], (8.0, 3.0))
    (a, b, c, d), (e, f, g, h) = (
        (x, y - LINE_IN / 2, x + LETTER_IN * len(name), y + LINE_IN / 2)
        for (x, y), name in zip(places, (first, second), strict=True)
    )
    assert min(a, b, e, f) >= 0
    assert max(c, g) <= 8
    assert max(d, h) <= 3
    assert c <= e or g <= a or d <= f or h <= b


def test_the_front_is_laid_beside_the_policies_by_one_measure() -> None:
    # The plan ends 18 h after the earliest end of its jobs, and rounding to slots adds a quarter of an hour.
    assert slot_wait_h(DATA, PLAN) == 18.0
    root = ET.fromstring(figures.pareto_front(make_data(mean_delay_h={"optimal": 18.25})))
    uses = [
        item
        for item in root.iter()
        if item.tag.endswith("use") and "stroke: #0072b2" in item.get("style", "")
    ]
    plan_x, front_x = float(uses[-1].attrib["x"]), float(uses[-2].attrib["x"])
    assert plan_x == pytest.approx(front_x, abs=0.01)


# ---------------------------------------------------------------- sums and words
def test_sums_against_a_loop_by_hand() -> None:
    regions = region_order(DATA)
    assert regions == ("se", "de", "pl")
    work = work_vcpus(DATA, NO_WAIT, regions)
    assert work.sum() == 60 * 10 * 2
    assert work[1, 0] == work[2, 1] == 300
    assert emissions_by_region_g(PLAN, regions).tolist() == [pytest.approx(PLAN.total_g), 0.0, 0.0]
    hourly = emissions_by_slot_g(DATA, PLAN)
    assert hourly.sum() == pytest.approx(PLAN.total_g)
    # Half of each job's energy lies in either slot; moving its data counts in the first.
    grams = FORECASTS["SE"].mean_g_per_kwh
    assert hourly[18] == pytest.approx(60 * (0.06 * grams[18] + 1.0))
    assert hourly[19] == pytest.approx(60 * 0.06 * grams[19])
    assert telling_zones(DATA) == ("SE", "DE", "PL")
    assert telling_zones(DATA, 1) == ("SE",)
    assert telling_zones(make_data(baselines={}), 1) == ("SE",)


def test_numbers_are_written_for_people() -> None:
    assert [number(value) for value in (-1234.5, -0.01, None, float("inf"))] == [
        "\u22121,234.5",
        "0.0",
        NOT_KNOWN,
        NOT_KNOWN,
    ]
    assert mass(float("nan")) == NOT_KNOWN
    assert [mass(value).replace(THIN, " ") for value in (0.1234, 999.0, 12_345.0, 2.5e7)] == [
        "0.123 g", "999 g", "12.3 kg", "25.0 t",
    ]  # fmt: skip
    assert percent(-0.5) == f"\u221250.0{THIN}%"
    assert len(short("x" * 50)) == 18


# ---------------------------------------------------------------- the file
def test_the_file_is_whole_and_replaces_the_old_one(tmp_path: Path, page: str) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")
    assert write_report(DATA, target) == target
    assert target.read_bytes() == page.encode()
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]


def test_where_nothing_can_be_written_there_is_an_error_and_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aicsched.report.html.render", lambda _data: "page")
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "nowhere" / "report.html", tmp_path / "file" / "report.html"):
        with pytest.raises(OutputError, match=r"report\.html.*can't be written"):
            write_report(DATA, place)

    def full(_one: object, _two: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        write_report(DATA, tmp_path / "report.html")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["file"]
