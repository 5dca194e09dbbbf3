"""An exporter of machines whose load is recorded beforehand: ``python exporter.py HISTORY.json``.

It serves over HTTP what node_exporter 1.x would of machines under that load, as counters that begin with
the process and grow with the clock. The file holds ``start_s``, ``step_s`` and by machine ``cpu_share``,
``memory_share`` and ``network_mb`` (per step), one value a step; the last one stays. A machine is scraped at
``/NAME/metrics``.
"""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CPUS = 4
MEMORY_BYTES = 64 * 2**30


def integral(values: list[float], start_s: float, step_s: float, from_s: float, to_s: float) -> float:
    """Integrate a step function over a span [value x s]."""
    total, at_s = 0.0, from_s
    while at_s < to_s:
        slot = min(max(int((at_s - start_s) // step_s), 0), len(values) - 1)
        until_s = to_s if slot == len(values) - 1 else min(start_s + (slot + 1) * step_s, to_s)
        total += values[slot] * (until_s - at_s)
        at_s = until_s
    return total


def exposition(name: str, history: dict[str, Any], begun_s: float, now_s: float) -> str:
    """Write a machine's metrics as they stand now."""
    machine, span = history["machines"][name], (history["start_s"], history["step_s"], begun_s, now_s)
    busy_s = integral(machine["cpu_share"], *span)
    idle_s = now_s - begun_s - busy_s
    moved = integral(machine["network_mb"], *span) / history["step_s"] * 1e6
    slot = min(int((now_s - history["start_s"]) // history["step_s"]), len(machine["memory_share"]) - 1)
    lines = ["# TYPE node_cpu_seconds_total counter"]
    for cpu in range(CPUS):
        for mode, seconds in (("user", 0.75 * busy_s), ("system", 0.25 * busy_s), ("idle", idle_s)):
            lines.append(f'node_cpu_seconds_total{{cpu="{cpu}",mode="{mode}"}} {seconds!r}')
    lines += [
        "# TYPE node_memory_MemTotal_bytes gauge",
        f"node_memory_MemTotal_bytes {MEMORY_BYTES}",
        "# TYPE node_memory_MemAvailable_bytes gauge",
        f"node_memory_MemAvailable_bytes {MEMORY_BYTES * (1 - machine['memory_share'][max(slot, 0)])!r}",
        "# TYPE node_network_receive_bytes_total counter",
        f'node_network_receive_bytes_total{{device="eth0"}} {0.5 * moved!r}',
        f'node_network_receive_bytes_total{{device="lo"}} {7.0 * moved!r}',
        "# TYPE node_network_transmit_bytes_total counter",
        f'node_network_transmit_bytes_total{{device="eth0"}} {0.5 * moved!r}',
        "# TYPE node_uname_info gauge",
        f'node_uname_info{{nodename="{name}",sysname="Linux"}} 1',
    ]
    return "\n".join(lines) + "\n"


def main(path: str) -> None:
    """Serve until killed."""
    history = json.loads(Path(path).read_text(encoding="utf-8"))
    begun_s = time.time()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer a scrape."""
            name = self.path.strip("/").partition("/")[0]
            if name not in history["machines"]:
                self.send_error(404)
                return
            body = exposition(name, history, begun_s, time.time()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"listens on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
