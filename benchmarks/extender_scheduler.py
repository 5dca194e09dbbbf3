"""What an extender adds to the real kube-scheduler's time per pod: ours, and a plain one of Go.

A real API server holds the nodes. Pods come one by one, slowly enough that none waits for another: in a
burst, bindings queue up at the API server, and the faster scheduler seems the slower one. What an attempt
took, with the binding and without, the scheduler's own metrics tell. Variants take turns, each with a fresh
scheduler. An extender in its configuration also keeps the scheduler from reusing the result
of one pod for its like (OpportunisticBatching): the second row tells what that alone costs; ``floor`` always
gives the same answer, so its row tells what the scheduler's own part of asking costs, and HTTP.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.extender_rivals import FLOOR, Served, go_command, go_extender, python, running
from benchmarks.tables import Table

if TYPE_CHECKING:
    from tests.e2e.control_plane import ControlPlane, Scheduler

TITLE = "Extender in the real kube-scheduler: time per pod with it, without it, and with plain Go"
NOT_MEASURED = "NOT MEASURED"
COLUMNS = (
    "variant", "attempt, mean [ms]", "over none [ms]", "over none, ratio",  "algorithm, mean [ms]",
    "scheduler CPU [ms/pod]", "extender CPU [ms/pod]", "pods",
)  # fmt: skip
_ROUNDS = 3
_EVERY_S = 0.04
_NO_BATCHING = ("--feature-gates=OpportunisticBatching=false",)
_ATTEMPT = "scheduler_scheduling_attempt_duration_seconds"
_ALGORITHM = "scheduler_scheduling_algorithm_duration_seconds"


@dataclass
class Variant:
    """A way to run the scheduler, and what it took so far."""

    label: str
    entry: dict[str, Any] | None = None
    extender: Served | None = None
    options: tuple[str, ...] = ()
    attempts: float = 0.0
    attempt_s: float = 0.0
    algorithm_s: float = 0.0
    scheduler_cpu_s: float = 0.0
    extender_cpu_s: float = 0.0
    pods: int = 0

    def row(self, base: Variant) -> tuple[Any, ...]:
        """Lay out its means, beside those of another."""
        mean_ms = 1e3 * self.attempt_s / self.attempts
        base_ms = 1e3 * base.attempt_s / base.attempts
        return (
            self.label, mean_ms, mean_ms - base_ms, mean_ms / base_ms, 1e3 * self.algorithm_s / self.attempts,
            1e3 * self.scheduler_cpu_s / self.pods,
            1e3 * self.extender_cpu_s / self.pods if self.extender else None,
            self.pods,
        )  # fmt: skip


def _sums(scheduler: Scheduler) -> dict[str, float]:
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, float] = {}
    for family in text_string_to_metric_families(scheduler.get("/metrics")):
        if family.name in {_ATTEMPT, _ALGORITHM}:
            for sample in family.samples:
                if sample.name.endswith(("_sum", "_count")):
                    assert sample.labels.get("result", "scheduled") == "scheduled", sample
                    found[sample.name] = sample.value
    return found


def measure(plane: ControlPlane, variant: Variant, pods: int) -> None:
    """Bind some pods, and add what it took; they are gone afterwards."""
    from tests.e2e.control_plane import scheduler, scheduler_config
    from tests.e2e.objects import NAMESPACE, delete_pods, plain_pod, wait_bound

    made = [plain_pod(f"pod-{at:05d}", cpu="100m", memory="64Mi") for at in range(pods)]
    config = scheduler_config(*([variant.entry] if variant.entry else []))
    before_s = variant.extender.cpu_s() if variant.extender else 0.0
    with scheduler(plane, config, options=variant.options) as running_one:
        with plane.kept() as call:
            due_s = time.monotonic()
            for pod in made:
                call("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", pod)
                due_s += _EVERY_S
                time.sleep(max(due_s - time.monotonic(), 0.0))
        wait_bound(plane, [pod["metadata"]["name"] for pod in made], within_s=600)
        sums = _sums(running_one)
        variant.scheduler_cpu_s += Served("", 0, running_one.process.pid, 0.0).cpu_s()
    variant.extender_cpu_s += variant.extender.cpu_s() - before_s if variant.extender else 0.0
    variant.attempts += sums[f"{_ATTEMPT}_count"]
    variant.attempt_s += sums[f"{_ATTEMPT}_sum"]
    variant.algorithm_s += sums[f"{_ALGORITHM}_sum"]
    variant.pods += pods
    assert sums[f"{_ATTEMPT}_count"] == pods, sums
    delete_pods(plane)


def _variants(floor: Served, ours: Served, go: Served | None) -> list[Variant]:
    from tests.e2e.control_plane import extender_entry

    def entry(server: Served, **more: Any) -> dict[str, Any]:
        return extender_entry(f"http://127.0.0.1:{server.port}", ignorable=False, **more)

    made = [
        Variant("none"),
        Variant("none, no batching", options=_NO_BATCHING),
        Variant("floor, prioritize by name", entry(floor, filterVerb=""), floor),
        Variant("ours, prioritize by name", entry(ours, filterVerb=""), ours),
        Variant("ours, filter and prioritize by name", entry(ours), ours),
    ]
    if go is not None:
        made += [
            Variant("plain Go, prioritize by name", entry(go, filterVerb=""), go),
            Variant("plain Go, filter and prioritize by name", entry(go), go),
        ]
    return made


def _ready_s(server: Served) -> float:
    """Wait until a server that listens is ready, too; return how long after its start that was [s]."""
    from tests.e2e.live import ready

    listened_s = time.monotonic()
    while not ready(f"http://127.0.0.1:{server.port}"):
        time.sleep(0.02)
    return server.start_s + time.monotonic() - listened_s


def _live(folder: Path, plane: ControlPlane, nodes: int) -> tuple[list[str], dict[str, float]]:
    """Make nodes in three regions and a grid's file; return the command of ours and grams for the rival."""
    from tests.e2e.live import CLI, in_region, write_config, write_grid
    from tests.e2e.objects import NAMESPACE, make_namespace, make_nodes

    means = {"one": 30.0, "two": 350.0, "three": 800.0}
    regions = list(means)
    placed = {f"node-{at:05d}": regions[at % len(regions)] for at in range(nodes)}
    make_namespace(plane, NAMESPACE)
    make_nodes(plane, {name: in_region(region) for name, region in placed.items()})
    write_grid(folder / "grid.csv", means)
    kept = {"refresh_s": 30, "max_age_s": 300}
    config = write_config(folder, plane.kubeconfig(), {region: region for region in regions}, **kept)
    grams = {name: means[region] + at / nodes for at, (name, region) in enumerate(placed.items())}
    return python(CLI, "serve", "--config", str(config)), grams


def run(*, smoke: bool) -> list[Table]:
    """Measure all variants on one control plane.

    Parameters
    ----------
    smoke : bool
        Few nodes and pods, and only where the programs are built already.

    Returns
    -------
    list of Table
        Times by variant, and start and memory of ours; a note says so where nothing could be measured.
    """
    from tests.debian_kit import NotToBeHad
    from tests.e2e.control_plane import built_before, control_plane

    nodes, pods, rounds = (20, 10, 1) if smoke else (1000, 300, _ROUNDS)
    if smoke and not all(built_before(name).exists() for name in ("kube-apiserver", "kube-scheduler")):
        return [Table("", COLUMNS, [], f"{NOT_MEASURED}: Kubernetes is not built yet, `do.py e2e` does it")]
    program = go_extender()
    try:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            plane = stack.enter_context(control_plane(folder))
            command, grams = _live(folder, plane, nodes)
            fixed = folder / "fixed.json"
            fixed.write_text(json.dumps([{"Host": name, "Score": 5} for name in grams]))
            floor = stack.enter_context(running("floor", python(FLOOR, str(fixed))))
            with running("ours", command) as first:
                cold_s = _ready_s(first)
            ours = stack.enter_context(running("ours", command))
            warm_s, at_first = _ready_s(ours), ours.memory_mib()
            go = stack.enter_context(running("go", go_command(program, grams))) if program else None
            variants = _variants(floor, ours, go)
            for at in range(rounds):
                # In turn from both ends, since etcd grows.
                for variant in variants if at % 2 == 0 else variants[::-1]:
                    measure(plane, variant, pods)
            at_last = ours.memory_mib()
    except NotToBeHad as reason:
        return [Table("", COLUMNS, [], f"{NOT_MEASURED}: {reason}")]
    note = f"{nodes} nodes, percentageOfNodesToScore 100, {rounds} rounds of {pods} equal pods, 25 a second."
    columns = (
        "",
        "ready, first [s]",
        "ready, again [s]",
        "RSS ready [MiB]",
        "RSS last [MiB]",
        "RSS peak [MiB]",
    )
    row = ("ours", cold_s, warm_s, at_first["rss"], at_last["rss"], at_last["peak"])
    return [
        Table("", COLUMNS, [variant.row(variants[0]) for variant in variants], note),
        Table("Start and memory", columns, [row], f"`aicsched serve --config` on these {nodes} nodes."),
    ]
