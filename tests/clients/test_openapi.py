"""schemathesis against the served document: whatever is sent, no answer is a failure of the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance

from server import PATIENCE, Server


@pytest.fixture(scope="session")
def document() -> Iterator[Any]:
    # Small contexts: what is generated for numbers asks for long texts, and for many of them.
    with Server("-np", "4", "-c", "512", "-n", "8", "--metrics") as server:
        yield schemathesis.openapi.from_url(f"{server.url}/openapi.json")


def test_no_request_makes_the_server_fail(document: Any) -> None:
    for operation in document.get_all_operations():
        send_what_is_described(operation.ok())


def send_what_is_described(operation: Any) -> None:
    @settings(max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def send(case: schemathesis.Case) -> None:
        response = case.call(timeout=PATIENCE)
        # Of routes that say so, what cannot be done with this model, or is not switched on.
        if response.status_code == 501 and "501" in operation.definition.raw["responses"]:
            return
        case.validate_response(response, checks=[not_a_server_error, content_type_conformance])

    send()


def test_every_operation_is_described(document: Any) -> None:
    described = {operation.ok().label for operation in document.get_all_operations()}
    routes = ["POST /v1/chat/completions", "POST /v1/messages", "POST /v1/responses", "POST /api/chat", "GET /health"]
    assert described.issuperset(routes), described
