"""What a large body took stays with the process: the next one costs no page faults."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from aicsched.extender.memory import keep_freed_memory

if sys.argv[1] == "kept" and not keep_freed_memory():
    print("no glibc")
    sys.exit()
piece = b"x" * 65536

def body():
    chunks = [piece + b"" if False else bytes(bytearray(piece)) for _ in range(160)]
    return b"".join(chunks)

for _ in range(3):
    body()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    body()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)
"""


def faults(how: str) -> float:
    command = [sys.executable, "-c", PROGRAM, how]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    if said == "no glibc":
        pytest.skip("this C library takes no such advice")
    return float(said)


def test_a_second_large_body_takes_no_new_pages() -> None:
    # 20 MiB are 5,120 pages, and giving them back is what the C library does by itself.
    assert faults("kept") < 100
    assert faults("free") > 1000
