"""Make a queue and a fleet from a public trace: ``make_real_input.py --out DIR [--at ISO]``.

Reads ``carbon/jobs_gaia_azure-100k.parquet`` (arrival and length in hours,
threads) below ``$AICSCHED_SHARED`` and writes ``jobs.csv`` and ``fleet.json``.

How the trace becomes a queue
-----------------------------
- Each of the six regions gets its own 72 h of the trace's arrivals, one window
  after the other from hour 1000 on, as its home queue. All windows are shifted
  to the planning time.
- Jobs of at most 24 h and 4 threads stay (85 % of the trace): the rest would
  not fit beside their slack into 96 h, or make the largest job more than 1/25
  of a region. About 4,200 jobs remain.
- The trace knows no deadlines, data or limits. Drawn with a fixed seed: slack of
  2, 6, 12 or 24 h behind the end of the job, evenly; data of e^N(0, 1) GB; a
  third may be suspended; one in twenty can't wait; one in ten must stay in its
  half of the world.

How the fleet is made
---------------------
Every region has 100 threads, 25 times the largest job, so that the demand is
about 55 % of all capacity over 96 h and far above what the cleanest regions
hold. 4 W a thread and 5 g/GB are assumptions; PUE as stated below.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

TRACE = "carbon/jobs_gaia_azure-100k.parquet"
SEED = 20211004
FIRST_ARRIVAL_H = 1000.0
WINDOW_H = 72.0
LONGEST_H = 24.0
MOST_VCPUS = 4
SLACKS_H = (2.0, 6.0, 12.0, 24.0)
# Region: grid zone, PUE, latitude, longitude, half of the world.
REGIONS = {
    "us-west": ("CISO", 1.15, 37.4, -121.9, "america"),
    "us-east": ("PJM", 1.20, 39.0, -77.5, "america"),
    "us-south": ("ERCO", 1.25, 32.8, -96.8, "america"),
    "eu-central": ("DE", 1.20, 50.1, 8.7, "europe"),
    "eu-north": ("SE", 1.10, 60.7, 17.1, "europe"),
    "eu-east": ("PL", 1.25, 52.2, 21.0, "europe"),
}


def fleet() -> dict[str, object]:
    """Return the fleet file's content."""
    regions = [
        {
            "name": name,
            "grid_zone": zone,
            "capacity_vcpus": 25 * MOST_VCPUS,
            "power_w_per_vcpu": 4.0,
            "pue": pue,
            "latitude_deg": latitude,
            "longitude_deg": longitude,
            "transfer_g_per_gb": 5.0,
        }
        for name, (zone, pue, latitude, longitude, _) in REGIONS.items()
    ]
    return {"regions": regions}


def queue(trace: Path, at: datetime) -> list[dict[str, object]]:
    """Return the rows of the jobs file, in the order of their release."""
    table = pq.read_table(trace)
    arrival_h, length_h, vcpus = (table[name].to_numpy() for name in ("arrival_time", "length", "cpus"))
    window = np.floor((arrival_h - FIRST_ARRIVAL_H) / WINDOW_H).astype(int)
    fits = (length_h <= LONGEST_H) & (vcpus <= MOST_VCPUS)
    rng = np.random.default_rng(SEED)
    rows: list[dict[str, object]] = []
    for row in np.flatnonzero((window >= 0) & (window < len(REGIONS)) & fits):
        home = list(REGIONS)[window[row]]
        half = REGIONS[home][4]
        release_h = (arrival_h[row] - FIRST_ARRIVAL_H) % WINDOW_H
        slack_h = float(rng.choice(SLACKS_H))
        data_gb, draw = float(rng.lognormal()), rng.random(3)
        release = at + timedelta(seconds=math.floor(release_h * 3600))
        duration_s = math.ceil(length_h[row] * 3600)
        nearby = [name for name, facts in REGIONS.items() if facts[4] == half]
        rows.append(
            {
                "job_id": f"azure-{row:06d}",
                "vcpus": int(vcpus[row]),
                "duration_s": duration_s,
                "release": release.strftime("%Y-%m-%dT%H:%M:%SZ"),
                # One more hour, since slots are whole hours and releases are not.
                "deadline": (release + timedelta(seconds=duration_s, hours=slack_h + 1)).strftime(
                    "%Y-%m-%dT%H:%M:%SZ"
                ),
                "home_region": home,
                "allowed_regions": ";".join(nearby) if draw[0] < 1 / 10 else "",
                "deferrable": "false" if draw[1] < 1 / 20 else "true",
                "suspendable": "true" if draw[2] < 1 / 3 else "false",
                "data_gb": f"{data_gb:.3f}",
            }
        )
    return sorted(rows, key=lambda row: (row["release"], row["job_id"]))


def main(arguments: list[str]) -> int:
    """Write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for jobs.csv and fleet.json")
    parser.add_argument("--at", default="2021-10-04T00:00Z", help="planning time, ISO 8601 with offset")
    chosen = parser.parse_args(arguments)
    shared = os.environ.get("AICSCHED_SHARED", "")
    trace = Path(shared, *() if Path(shared, TRACE).exists() else ("data",), TRACE)
    if not trace.exists():
        print(
            f"no {TRACE} below AICSCHED_SHARED='{shared}'; set it to the shared data folder", file=sys.stderr
        )
        return 2
    rows = queue(trace, datetime.fromisoformat(chosen.at).astimezone(UTC))
    chosen.out.mkdir(parents=True, exist_ok=True)
    with (chosen.out / "jobs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (chosen.out / "fleet.json").write_text(json.dumps(fleet(), indent=2) + "\n", encoding="utf-8")
    print(f"{len(rows)} jobs and {len(REGIONS)} regions written to {chosen.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
