"""The console over HTTP: who is let in, what responses may load, and streams."""

import json
import re
import socket
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import httpx
import pytest

from benchmarks.console.served import EVERYTHING, MadeUpRights, Served, served
from edge_console import server
from edge_console.cli import listening
from edge_console.planning import BURST, LARGEST
from edge_console.server import STREAMS_OF_A_VIEWER
from edge_console.viewers import FRESH
from factory import bodies

OF_DEFAULT, OF_LAB = "token-of-default", "token-of-lab"
Json = dict[str, Any]
MARKUP_FROM_TEXT = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function"


@pytest.fixture
def client(console: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=console.url, timeout=30) as found:
        yield found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """The events of a stream."""
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


PATHS = (
    "/api/viewer",
    "/api/stream",
    "/api/services/default/digits/explanation",
    "/api/pools/factory/usage",
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic dXNlcjpwYXNz", "Bearer"])
def test_nothing_of_the_cluster_is_sent_without_a_valid_token(
    client: httpx.Client, path: str, header: str | None
) -> None:
    response = client.get(path, headers={} if header is None else {"Authorization": header})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert "digits" not in response.text


def test_a_token_in_the_address_or_in_a_cookie_does_not_count(client: httpx.Client) -> None:
    assert client.get(f"/api/viewer?token={EVERYTHING}").status_code == 401
    assert client.get("/api/viewer", headers={"Cookie": f"token={EVERYTHING}"}).status_code == 401


def test_a_viewer_gets_its_rights(client: httpx.Client) -> None:
    assert client.get("/api/viewer", headers=bearer(OF_LAB)).json() == {
        "user": f"user-of-{OF_LAB}",
        "namespaces": ["lab"],
        "pools": False,
        "tenants": False,
    }


@pytest.mark.parametrize("path", ["/", "/js/main.js", "/console.css", "/api/viewer", "/nowhere", "/healthz"])
def test_every_response_limits_what_the_page_may_load(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in headers
    assert headers["cache-control"] == ("no-store" if path.startswith("/api/") else "no-cache")


class Addresses(HTMLParser):
    """What a page refers to, and the attributes that would run code."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.found += [value for name in ("src", "href") if (value := values.get(name))]
        self.inline += [name for name in values if name.startswith("on") or name == "style"]
        if tag == "script" and not values.get("src"):
            self.inline.append(tag)


def test_the_page_loads_its_own_files_alone_and_has_no_code_in_its_markup() -> None:
    pages = resources.files("edge_console") / "pages"
    parser = Addresses()
    parser.feed((pages / "index.html").read_text())
    assert parser.inline == []
    own = [address for address in parser.found if not address.startswith("#")]
    assert own
    assert [address for address in own if not (pages / address.partition("#")[0]).is_file()] == []
    for file in [*(pages / "js").iterdir(), pages / "console.css"]:
        text = file.read_text()
        assert [found for found in re.findall(r"https?://[^\"' )]+", text) if "www.w3.org" not in found] == []
        for name in re.findall(r"from \"\./([^\"]+)\"", text):
            assert (pages / "js" / name).is_file()
        assert not re.search(MARKUP_FROM_TEXT, text)


def test_files_outside_of_the_page_are_not_served(client: httpx.Client) -> None:
    for path in ("/../cli.py", "/%2e%2e/cli.py", "/js/../../cli.py", "/..%2fcli.py"):
        assert client.get(path).status_code == 404


def test_the_stream_begins_with_what_the_viewer_sees(client: httpx.Client) -> None:
    with client.stream("GET", "/api/stream?service=lab/faults", headers=bearer(OF_LAB)) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        found: Json = {}
        for name, data in events(response):
            found[name] = data
            if name == "service":
                break
    assert [row["key"] for row in found["services"]["rows"]] == ["lab/faults", "lab/gauges"]
    assert found["service"]["value"]["key"] == "lab/faults"
    assert found["tenants"]["value"] == {"visible": False, "tenants": []}


def test_a_change_in_the_cluster_reaches_the_page(console: Served, client: httpx.Client) -> None:
    with client.stream("GET", "/api/stream", headers=bearer(EVERYTHING)) as response:
        stream = events(response)
        assert next(stream)[0] == "services"
        body = console.server.get("InferenceService", "lab", "gauges")
        slo = body["status"]["slo"] | {"attainment": "0.5"}
        console.server.put(body | {"status": body["status"] | {"slo": slo}})
        data = next(data for name, data in stream if name == "services")
        assert [(row["key"], row["attainment"]) for row in data["rows"]] == [("lab/gauges", 0.5)]
        assert not data["whole"]
        console.server.remove(body)
        data = next(data for name, data in stream if name == "services")
        assert data["gone"] == ["lab/gauges"]


def test_a_change_in_a_forbidden_namespace_sends_nothing(console: Served, client: httpx.Client) -> None:
    with client.stream("GET", "/api/stream", headers=bearer(OF_DEFAULT)) as response:
        stream = events(response)
        assert next(stream)[0] == "services"
        for namespace, name in (("lab", "gauges"), ("default", "digits")):
            body = console.server.get("InferenceService", namespace, name)
            slo = body["status"]["slo"] | {"attainment": "0.5"}
            console.server.put(body | {"status": body["status"] | {"slo": slo}})
        data = next(data for name, data in stream if name == "services")
        assert [row["key"] for row in data["rows"]] == ["default/digits"]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def aging(planned: Any, rights: MadeUpRights) -> Iterator[tuple[Served, Clock]]:
    """A console whose verdicts age by what a test adds to its clock."""
    clock = Clock()
    with served(bodies(planned), rights, planned.clock().wall, review_clock=clock) as found:
        yield found, clock


def change(console: Served) -> None:
    """Something changes, so that open pages are updated."""
    body = console.server.get("Tenant", "", "lab")
    console.server.put(body)


def test_an_open_page_ends_within_a_minute_of_its_token(
    aging: tuple[Served, Clock], rights: MadeUpRights
) -> None:
    console, clock = aging
    with httpx.stream("GET", f"{console.url}/api/stream", headers=bearer(OF_LAB), timeout=60) as response:
        stream = events(response)
        assert next(stream)[0] == "services"
        rights.namespaces = {}
        clock.now += FRESH
        change(console)
        name, data = next(event for event in stream if event[0] not in ("pools", "tenants"))
        assert (name, "token" in data["message"]) == ("end", True)
        assert list(stream) == []


def test_an_open_page_loses_a_namespace_within_a_minute_of_the_right(
    aging: tuple[Served, Clock], rights: MadeUpRights
) -> None:
    console, clock = aging
    with httpx.stream("GET", f"{console.url}/api/stream", headers=bearer(OF_LAB), timeout=60) as response:
        stream = events(response)
        assert next(stream)[0] == "services"
        rights.namespaces = {OF_LAB: frozenset()}
        clock.now += FRESH
        change(console)
        data = next(data for name, data in stream if name == "services")
        assert data["gone"] == ["lab/faults", "lab/gauges"]


def test_a_page_ends_if_rights_cannot_be_reviewed_for_long(
    aging: tuple[Served, Clock], rights: MadeUpRights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "UNCONFIRMED", 0.0)
    console, clock = aging
    with httpx.stream("GET", f"{console.url}/api/stream", headers=bearer(OF_LAB), timeout=60) as response:
        stream = events(response)
        assert next(stream)[0] == "services"
        rights.away = True
        clock.now += FRESH
        change(console)
        name, data = next(event for event in stream if event[0] not in ("pools", "tenants"))
        assert (name, "no response" in data["message"]) == ("end", True)
    refused = httpx.get(f"{console.url}/api/viewer", headers=bearer(OF_LAB), timeout=60)
    assert refused.status_code == 503


def test_a_viewer_has_a_few_streams_at_once(console: Served, client: httpx.Client) -> None:
    streams = [
        client.stream("GET", "/api/stream", headers=bearer(OF_LAB)) for _ in range(STREAMS_OF_A_VIEWER)
    ]
    opened = [stream.__enter__() for stream in streams]
    assert {response.status_code for response in opened} == {200}
    refused = client.get("/api/stream", headers=bearer(OF_LAB))
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    with client.stream("GET", "/api/stream", headers=bearer(OF_DEFAULT)) as other:
        assert other.status_code == 200
    for stream in streams:
        stream.__exit__(None, None, None)


def test_a_service_is_explained_over_http(client: httpx.Client) -> None:
    path = "/api/services/{}/explanation"
    found = client.get(path.format("default/labels"), headers=bearer(OF_DEFAULT)).json()
    assert (found["service"], found["namespace"]) == ("labels", "default")
    hidden = client.get(path.format("lab/faults"), headers=bearer(OF_DEFAULT))
    assert hidden.status_code == 404
    assert hidden.json()["message"].startswith("InferenceService lab/faults: ")


def test_suppositions_are_limited_in_rate_and_size(client: httpx.Client) -> None:
    path = "/api/services/default/labels/what-if"
    large = client.post(path, headers=bearer(OF_DEFAULT), content=b" " * (LARGEST + 1))
    assert (large.status_code, str(LARGEST) in large.json()["message"]) == (400, True)
    responses = [
        client.post(path, headers=bearer(OF_DEFAULT), json={"bandwidth": "1M", "nodes": ["absent"]})
        for _ in range(BURST + 1)
    ]
    assert [response.status_code for response in responses] == [200] * BURST + [429]
    assert "absent" in responses[0].json()["problem"]
    assert int(responses[-1].headers["retry-after"]) >= 1


def test_the_api_server_reviews_the_rights_of_the_viewer(client: httpx.Client, rights: MadeUpRights) -> None:
    client.get("/api/viewer", headers=bearer(OF_LAB))
    assert rights.tokens_asked == [OF_LAB]
    asked = {(right.group, right.resource, right.verb, right.namespace) for _, right in rights.rights_asked}
    assert ("edge-intelligence.io", "inferenceservices", "list", "lab") in asked
    assert ("", "nodes", "list", "") in asked or ("edge-intelligence.io", "devicepools", "list", "") in asked


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
def test_it_listens_on_one_address_or_on_all(host: str | None) -> None:
    with listening(host, 0) as socket_, socket.create_connection(("127.0.0.1", socket_.getsockname()[1]), 5):
        assert (socket_.getsockname()[0] == "127.0.0.1") == (host is not None)


def test_it_is_healthy_once_every_kind_was_read(client: httpx.Client) -> None:
    assert (client.get("/healthz").status_code, client.get("/healthz").text) == (200, "ok\n")
