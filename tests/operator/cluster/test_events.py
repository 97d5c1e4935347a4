"""Repeated events share one object, whose count is written at most once a minute."""

import datetime
import json
from typing import Any

from edge_operator.cluster import ApiServer
from edge_operator.events import EVERY, EventCounts, new_event

NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
SERVICE: dict[str, Any] = {
    "apiVersion": "edge-intelligence.io/v1alpha1",
    "kind": "InferenceService",
    "metadata": {"name": "digits", "namespace": "default", "uid": "u-1"},
}


class Client:
    """Replaces kubernetes' ApiClient; a PATCH finds nothing if `gone`."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.gone, self.status = False, 200

    def param_serialize(self, method: str, path: str, **more: Any) -> tuple[Any, ...]:
        return (method, path, more["body"])

    def call_api(self, method: str, path: str, body: Any, **_: Any) -> "Client":
        self.requests.append((method, path, body))
        self.status = 404 if self.gone and method == "PATCH" else 200
        return self

    def read(self) -> bytes:
        return json.dumps({}).encode()


def event(reason: str = "ObjectiveMissed", message: str = "SLOMet: 94.0%", process: str = "p") -> Any:
    return new_event(SERVICE, "Warning", reason, message, now=NOW, process=process)


def test_events_of_one_reason_and_condition_have_one_name_and_others_have_another() -> None:
    name = event()["metadata"]["name"]
    assert event(message="SLOMet: 93.0%")["metadata"]["name"] == name
    others = [event("ObjectiveMet"), event(message="Ready: 94.0%"), event(process="q")]
    assert len({name, *(other["metadata"]["name"] for other in others)}) == 4


def test_sixty_events_in_five_minutes_are_at_most_six_writes_and_none_is_lost() -> None:
    counts = EventCounts()
    written = [counts.count(event(), 5.0 * n) for n in range(61)]
    assert [count for count in written if count is not None] == [1, 13, 25, 37, 49, 61]


def test_a_repeated_event_raises_the_count_of_its_object() -> None:
    client, now = Client(), [0.0]
    server = ApiServer(client, clock=lambda: now[0])  # type: ignore[arg-type]
    server.record(SERVICE, "Warning", "ObjectiveMissed", "SLOMet: 94.0%")
    server.record(SERVICE, "Warning", "ObjectiveMissed", "SLOMet: 93.0%")
    assert [method for method, _, _ in client.requests] == ["POST"]
    now[0] += EVERY
    server.record(SERVICE, "Warning", "ObjectiveMissed", "SLOMet: 92.0%")
    method, path, body = client.requests[-1]
    assert (method, body["count"], body["message"]) == ("PATCH", 3, "SLOMet: 92.0%")
    assert path.endswith(client.requests[0][2]["metadata"]["name"])


def test_an_event_that_expired_is_created_again() -> None:
    client, now = Client(), [0.0]
    server = ApiServer(client, clock=lambda: now[0])  # type: ignore[arg-type]
    server.record(SERVICE, "Normal", "Serving", "Ready: x")
    now[0] += EVERY
    client.gone = True
    server.record(SERVICE, "Normal", "Serving", "Ready: x")
    assert [(method, body["count"]) for method, _, body in client.requests] == [
        ("POST", 1), ("PATCH", 2), ("POST", 2),
    ]  # fmt: skip
