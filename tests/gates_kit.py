"""An API server of pods, Jobs, leases and events in memory, for releases: JSON patches, conflicts, losses.

It stands at the seam of `aicsched.fleet.kubernetes.act`; the real server is asked in tests/e2e.
"""

from __future__ import annotations

import copy
import json
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.domain.carbon import IntensityKind
from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.forecast import Forecast
from aicsched.errors import SourceUnavailable
from aicsched.extender.gates.planner import Outlook
from aicsched.extender.names import DEFERRABLE, GATE
from aicsched.fleet.kubernetes.act import Changed
from aicsched.slots import HOUR_S, SlotGrid, format_time
from tests.signals_kit import START_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.signals_kit import HandClock


def rfc3339(epoch_s: float) -> str:
    return format_time(int(epoch_s))


class FakeCluster:
    """Objects by kind, namespace and name; whoever listens hears of each change."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.version = 100
        self.lock = threading.RLock()
        self.reachable = True
        self.listeners: list[Callable[[str, str, Any], None]] = []
        # Objects that were released, with the time; and what each patch said.
        self.releases: list[tuple[str, float]] = []
        self.events: list[dict[str, Any]] = []
        self.patches = 0
        # A write is done, and its answer lost.
        self.lose_answers = 0

    # ------------------------------------------------------------ what users do

    def put(self, kind: str, item: dict[str, Any]) -> None:
        meta = item["metadata"]
        key = (kind, meta.get("namespace", "shop"), meta["name"])
        event = "MODIFIED" if key in self.objects else "ADDED"
        self._store(key, item)
        self._hear(kind, event, item)

    def drop(self, kind: str, name: str, namespace: str = "shop") -> None:
        item = self.objects.pop((kind, namespace, name))
        self._hear(kind, "DELETED", item)

    def resync(self, listener: Callable[[str, str, Any], None]) -> None:
        """List everything to somebody, as an informer does at its start."""
        for (kind, _, _), item in list(self.objects.items()):
            listener(kind, "ADDED", copy.deepcopy(item))

    def _hear(self, kind: str, event: str, item: dict[str, Any]) -> None:
        if self.reachable:
            for listener in self.listeners:
                listener(kind, event, copy.deepcopy(item))

    def _store(self, key: tuple[str, str, str], item: dict[str, Any]) -> None:
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self.objects[key] = item

    # ------------------------------------------------------------ the seam

    def _ask(self) -> None:
        if not self.reachable:
            msg = "kubernetes: the API server can't be reached"
            raise SourceUnavailable(msg, hint="it is asked again")

    def read(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        self._ask()
        with self.lock:
            return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def patch(
        self, kind: str, namespace: str, name: str, steps: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        self._ask()
        with self.lock:
            return self._patch(kind, namespace, name, steps)

    def _patch(
        self, kind: str, namespace: str, name: str, steps: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        self.patches += 1
        key = (kind, namespace, name)
        if key not in self.objects:
            return None
        item = patched(self.objects[key], steps)
        if waits(kind, self.objects[key]) and not waits(kind, item):
            self.releases.append((item["metadata"]["uid"], self.clock.now_s()))
        self._store(key, item)
        self._hear(kind, "MODIFIED", item)
        if self.lose_answers:
            self.lose_answers -= 1
            msg = "kubernetes: the API server can't be reached (ReadTimeout)"
            raise SourceUnavailable(msg, hint="it is asked again")
        return copy.deepcopy(item)

    def create(self, kind: str, namespace: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        self._ask()
        key = (kind, namespace, body["metadata"]["name"])
        if key in self.objects:
            msg = "it exists already (409)"
            raise Changed(msg, value=409)
        self._store(key, copy.deepcopy(dict(body)))
        if kind == "events":
            self.events.append(self.objects[key])
        return copy.deepcopy(self.objects[key])

    def replace(self, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        self._ask()
        key = (kind, namespace, name)
        if key not in self.objects:
            return None
        if self.objects[key]["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            msg = "the object has been modified (409)"
            raise Changed(msg, value=409)
        self._store(key, copy.deepcopy(dict(body)))
        return copy.deepcopy(self.objects[key])


def waits(kind: str, item: Mapping[str, Any]) -> bool:
    if kind == "jobs":
        return item["spec"].get("suspend") is True
    return any(gate["name"] == GATE for gate in item["spec"].get("schedulingGates", []))


def patched(item: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Apply a JSON patch (RFC 6902): all of it, or nothing and `Changed`."""
    made = json.loads(json.dumps(item))
    for step in steps:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
        at: Any = made
        try:
            for part in parts[:-1]:
                at = at[int(part)] if isinstance(at, list) else at[part]
            last: Any = parts[-1]
            if isinstance(at, list):
                last = len(at) if last == "-" else int(last)
            if step["op"] == "test":
                assert at[last] == step["value"]
            elif step["op"] == "remove":
                del at[last]
            elif step["op"] == "add" and isinstance(at, list):
                at.insert(last, step["value"])
            elif step["op"] == "add":
                at[last] = step["value"]
            else:
                assert last in at
                at[last] = step["value"]
        except (KeyError, IndexError, AssertionError, TypeError) as error:
            msg = f"{step['op']} of {step['path']} failed (422)"
            raise Changed(msg, value=422) from error
    return made


def gated(
    name: str, *, made_s: float = START_S, gates: tuple[str, ...] = (GATE,), **more: Any
) -> dict[str, Any]:
    """A marked pod behind our gate; keywords with underscores are annotations: ``max_delay="2h"``."""
    spec = more.pop("spec", {})
    labels = more.pop("labels", {DEFERRABLE: "true"})
    namespace = more.pop("namespace", "shop")
    owners = more.pop("owners", [])
    annotations = {f"aicsched.io/{key.replace('_', '-')}": value for key, value in more.items()}
    meta: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{namespace}-{name}",
        "creationTimestamp": rfc3339(made_s),
        "labels": labels,
        "ownerReferences": owners,
    }
    if annotations:
        meta["annotations"] = annotations
    requests = {"cpu": "2", "memory": "4Gi"}
    main = {"name": "main", "resources": {"requests": requests}}
    return {
        "metadata": meta,
        "spec": {"containers": [main], "schedulingGates": [{"name": gate} for gate in gates], **spec},
    }


def suspended(
    name: str, *, made_s: float = START_S, template: dict[str, Any] | None = None, **more: Any
) -> Any:
    """A marked Job that is suspended."""
    job = gated(name, made_s=made_s, **more)
    pod = {"metadata": template or {}, "spec": {"containers": job["spec"]["containers"]}}
    job["spec"] = {"suspend": True, "parallelism": 3, "template": pod}
    return job


def outlook(
    g_per_kwh: Sequence[float],
    *,
    start_s: float = START_S,
    made_s: float | None = None,
    capacity_vcpus: float = float("inf"),
    regions: tuple[str, ...] = ("north",),
) -> Outlook:
    """Foresee intensities hour by hour in each region, on zones of the regions' names in capitals."""
    rate = np.asarray(g_per_kwh, dtype=float)
    forecasts = {
        region.upper(): Forecast(
            grid_zone=region.upper(),
            kind=IntensityKind.AVERAGE,
            slots=SlotGrid(int(start_s), HOUR_S, len(rate)),
            issue_time_s=int(start_s),
            mean_g_per_kwh=rate,
            levels=(0.5,),
            quantiles_g_per_kwh=rate[None, :],
            model="told",
            source="test",
        )
        for region in regions
    }
    places = tuple(
        Region(
            name=name, grid_zone=name.upper(), capacity_vcpus=capacity_vcpus, power_w_per_vcpu=5.0, pue=1.2
        )
        for name in regions
    )
    return Outlook(fleet=Fleet(regions=places), forecasts=forecasts, made_s=made_s or start_s)
