"""What the doctor says of a configuration, beside what the real kube-scheduler does with it."""

from __future__ import annotations

import copy
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from aicsched.extender.doctor.entries import check_scheduler
from aicsched.extender.doctor.schedulerfile import read_scheduler_file
from tests.debian_kit import NotToBeHad
from tests.e2e.control_plane import built
from tests.unit.test_doctor_scheduler import CASES, SOUND, changed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

TWO = SOUND | {"extenders": [SOUND["extenders"][0] | {"bindVerb": "bind"} for _ in range(2)]}
MORE = {
    "sound": SOUND,
    "two-binders": TWO,
    "unknown-field": changed(ignoreable=True),
    "unknown-tls-field": changed(tlsConfig={"ca": "x"}),
    "api-version": changed({"apiVersion": "kubescheduler.config.k8s.io/v1beta3"}),
    "profile": changed({"profiles": [{"schedulerName": "x", "percentageOfNodesToScore": 1000}]}),
    "key-alone": changed(tlsConfig={"caFile": "ca", "keyFile": "key"}),
}


@pytest.fixture(scope="module")
def scheduler() -> Path:
    """Give the real program."""
    try:
        return built("kube-scheduler")
    except NotToBeHad as reason:
        pytest.skip(f"NOT TESTED against a real kube-scheduler: {reason}")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give a certificate that signs itself, and its key: the program reads the files it is told of."""
    folder = tmp_path_factory.mktemp("certificate")
    key, crt = folder / "tls.key", folder / "tls.crt"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "2"]
    subprocess.run([*command, "-keyout", key, "-out", crt], check=True, capture_output=True)
    return crt, key


def with_files(content: dict[str, Any], certificate: tuple[Path, Path]) -> dict[str, Any]:
    made = copy.deepcopy(content)
    for extender in made["extenders"]:
        tls = extender.get("tlsConfig") or {}
        for key in ("caFile", "certFile", "keyFile"):
            if key in tls:
                tls[key] = str(certificate[key == "keyFile"])
    return made


@pytest.mark.parametrize("name", sorted(CASES | MORE))
def test_the_scheduler_refuses_what_the_doctor_says_it_refuses(
    name: str, scheduler: Path, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    path, written = tmp_path / "config.yaml", tmp_path / "read.yaml"
    path.write_text(yaml.safe_dump(with_files((CASES | MORE)[name], certificate)))
    read = read_scheduler_file(path)
    said = [found.message for found in (*read.findings, *check_scheduler(read.content))]
    options = [f"--config={path}", f"--write-config-to={written}", "--master=http://127.0.0.1:9"]
    done = subprocess.run(
        [scheduler, *options, "--leader-elect=false", "--secure-port=0"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert any("refuses to start" in each for each in said) == (done.returncode != 0), (said, done.stderr)
    assert written.exists() == (done.returncode == 0)
