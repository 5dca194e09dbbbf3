"""The server does what its OpenAPI document says: cases made from the document, checked against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from tests.trust_kit import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = 80
# Where what is made at random can't name what is there.
USUAL = {"/bind": 400, "/explain/{namespace}/{pod}": 404}
OPERATIONS = (
    ("/filter", "POST"), ("/prioritize", "POST"), ("/preempt", "POST"), ("/bind", "POST"),
    ("/api/v1/score", "POST"), ("/explain/{namespace}/{pod}", "GET"), ("/openapi.json", "GET"),
    ("/readyz", "GET"),
)  # fmt: skip
WANTED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(sample=True) as started:
        yield started
        assert started.stop() == (0, "")  # no unhandled exception was written


@pytest.fixture(scope="module")
def document(server: ServerProcess) -> Any:
    return server.call("GET", "/openapi.json").json


def test_no_operation_is_left_out(document: Any) -> None:
    said = {
        (path, method.upper())
        for path, item in document["paths"].items()
        for method in item.keys() & {"get", "post", "put", "delete", "patch"}
    }
    assert said - {("/livez", "GET"), ("/metrics", "GET")} == set(OPERATIONS)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_the_document_says_holds(server: ServerProcess, document: Any, path: str, method: str) -> None:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=f"http://127.0.0.1:{server.port}")
    operation = schema[path][method]
    checks = CHECKS.get_by_names(WANTED)
    seen: set[int] = set()
    with requests.Session() as session:
        # Both what fits the document and what doesn't; nothing is shrunk, since cases are small.
        @given(st.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode]))
        @settings(
            max_examples=CASES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def holds(case: Any) -> None:
            response = case.call(session=session)
            seen.add(response.status_code)
            case.validate_response(response, checks=checks)

        holds()
    assert USUAL.get(path, 200) in seen
