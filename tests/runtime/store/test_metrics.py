import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_runtime.store.app import StoreApp


def ask(app: StoreApp, method: str, path: str, body: bytes = b"") -> bytes:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-length", b"%d" % len(body))]
    asyncio.run(app({"type": "http", "method": method, "path": path, "headers": headers}, receive, send))
    return b"".join(message.get("body", b"") for message in sent[1:])


def counts(app: StoreApp) -> dict[tuple[str, str], float]:
    text = ask(app, "GET", "/metrics").decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        (sample.labels["method"], sample.labels["resource"]): sample.value
        for sample in samples
        if sample.name == "edge_store_requests_total"
    }


def test_requests_count_by_method_and_resource_also_if_they_are_refused(tmp_path: Path) -> None:
    app = StoreApp(tmp_path, 1 << 20)
    ask(app, "PUT", "/v1/files/folder/a.onnx", b"x")
    ask(app, "GET", "/v1/files/folder/a.onnx")
    ask(app, "GET", "/v1/blobs/sha256:nothing")
    ask(app, "GET", "/v1/blobs/sha256:nothing")

    assert counts(app) == {("PUT", "files"): 1, ("GET", "files"): 1, ("GET", "blobs"): 2}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/health/ready"), ("POST", "/v1/probe"), ("GET", "/metrics")]
)
def test_health_checks_probes_and_scrapes_do_not_count(tmp_path: Path, method: str, path: str) -> None:
    app = StoreApp(tmp_path, 1 << 20)
    ask(app, method, path)

    assert counts(app) == {}


def test_what_callers_invent_makes_no_further_series(tmp_path: Path) -> None:
    app = StoreApp(tmp_path, 1 << 20)
    for number in range(3):
        ask(app, f"M{number}", f"/v1/resource-{number}")
        ask(app, "GET", f"/{number}")

    assert counts(app) == {("other", "other"): 3, ("GET", "other"): 3}


def failures(app: StoreApp) -> dict[str, float]:
    text = ask(app, "GET", "/metrics").decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {s.labels["cause"]: s.value for s in samples if s.name == "edge_store_failures_total"}


def test_failures_of_the_disk_and_of_the_store_itself_count_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = StoreApp(tmp_path, 1 << 20)
    assert failures(app) == {"disk": 0, "defect": 0}
    for error in (OSError(5, "Input/output error"), ValueError("a defect")):

        def broken(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(app, "_show", broken)
        ask(app, "GET", "/v1/files/a.onnx")
    assert failures(app) == {"disk": 1, "defect": 1}


def test_refused_requests_do_not_count_as_failures(tmp_path: Path) -> None:
    app = StoreApp(tmp_path, 1 << 20)
    ask(app, "GET", "/v1/blobs/sha256:nothing")
    assert failures(app) == {"disk": 0, "defect": 0}


def test_the_room_on_the_disk_is_that_of_the_stores_folder(tmp_path: Path) -> None:
    text = ask(StoreApp(tmp_path, 1 << 20), "GET", "/metrics").decode()
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["edge_store_disk_size_bytes"] == shutil.disk_usage(tmp_path).total
    assert 0 < values["edge_store_disk_free_bytes"] <= values["edge_store_disk_size_bytes"]
