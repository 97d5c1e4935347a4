"""The mirror follows lists and watches of the API server, and survives their ends."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes.client
import pytest

from edge_console.api_server import ApiServer
from edge_console.rights import Identity, Right
from edge_operator.cluster import INFERENCE_SERVICES, NODES, Kind, Object
from edge_operator.errors import ApiUnreachableError
from edge_operator.explaining.replanning import READ
from edge_operator.list_watch import Expired, Listed
from edge_operator.observed.watching import Watching
from waiting import until


def body(name: str, version: int, namespace: str = "default") -> Object:
    metadata = {"name": name, "namespace": namespace, "uid": name, "resourceVersion": str(version)}
    return {"kind": "InferenceService", "metadata": metadata, "spec": {}}


class Scripted:
    """Lists and watches in the given order; the last one blocks."""

    def __init__(self, lists: list[Listed | Exception], watches: list[Any]) -> None:
        self.lists, self.watches, self.versions = lists, watches, list[str]()
        self.ended = threading.Event()

    def objects(self, kind: Kind, namespace: str | None) -> Listed:
        if kind is not INFERENCE_SERVICES:
            return Listed([], "1")
        found = self.lists.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def watch(self, kind: Kind, namespace: str | None, version: str) -> Iterator[tuple[str, Object]]:
        if kind is INFERENCE_SERVICES:
            self.versions.append(version)
            if self.watches:
                events = self.watches.pop(0)
                if isinstance(events, Exception):
                    raise events
                yield from events
                return
        self.ended.wait(20)


def names(watching: Watching) -> list[str]:
    return sorted(each["metadata"]["name"] for each in watching.mirror.find("InferenceService"))


@contextmanager
def running(server: Scripted) -> Iterator[Watching]:
    """Watching in its threads, which end with the block."""
    watching = Watching(server, READ)
    watching.start()
    try:
        yield watching
    finally:
        watching.stop()
        server.ended.set()


def test_changes_are_applied_and_a_watch_continues_from_the_last_version() -> None:
    events = [("ADDED", body("b", 6)), ("DELETED", body("a", 7)), ("BOOKMARK", body("", 9))]
    server = Scripted([Listed([body("a", 5)], "5")], [events])
    with running(server) as watching:
        until(lambda: server.versions == ["5", "9"], lambda: server.versions)
        assert names(watching) == ["b"]
        assert watching.missing == ()


def test_after_an_expired_version_objects_that_are_gone_leave_the_mirror() -> None:
    server = Scripted([Listed([body("a", 5)], "5"), Listed([body("b", 8)], "8")], [Expired()])
    with running(server) as watching:
        until(lambda: server.versions == ["5", "8"], lambda: server.versions)
        assert names(watching) == ["b"]


def test_an_api_server_that_does_not_respond_is_listed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_operator.observed.watching._RETRY_SECONDS", (0.01, 0.02))
    server = Scripted(
        [ApiUnreachableError("no response"), Listed([body("a", 5)], "5"), Listed([body("a", 5)], "6")],
        [ApiUnreachableError("reset")],
    )
    with running(server) as watching:
        until(lambda: server.versions == ["5", "6"], lambda: server.versions)
        assert names(watching) == ["a"]


def test_a_watch_that_always_ends_at_once_is_not_opened_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_operator.observed.watching._PAUSE_SECONDS", 60.0)
    server = Scripted([Listed([], "5")], [[], [], []])
    with running(server):
        until(lambda: server.versions == ["5"], lambda: server.versions)
        threads = [each for each in threading.enumerate() if each.name == INFERENCE_SERVICES.plural]
        threads[0].join(0.2)
        assert server.versions == ["5"]


def test_until_each_kind_was_read_the_missing_ones_are_named() -> None:
    watching = Watching(Scripted([], []), READ)
    assert watching.missing == tuple(sorted(kind.plural for kind in READ))
    watching.read(NODES)
    assert "nodes" not in watching.missing


def test_listeners_hear_of_every_change() -> None:
    heard: list[str] = []
    server = Scripted([Listed([body("a", 5)], "5")], [])
    watching = Watching(server, READ)
    watching.on_change(lambda: heard.append("change"))
    watching.read(INFERENCE_SERVICES)
    assert heard == ["change"]


Respond = Callable[[str, dict[str, list[str]], Object | None], tuple[int, bytes]]


@pytest.fixture
def connected() -> Iterator[Callable[[Respond], ApiServer]]:
    """An ApiServer whose requests a function answers."""
    servers: list[ThreadingHTTPServer] = []

    def connect(respond: Respond) -> ApiServer:
        class Handler(BaseHTTPRequestHandler):
            def answer(self, sent: Object | None) -> None:
                address = urlsplit(self.path)
                status, content = respond(address.path, parse_qs(address.query), sent)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self) -> None:
                self.answer(None)

            def do_POST(self) -> None:
                self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        configuration = kubernetes.client.Configuration()
        configuration.host, configuration.retries = f"http://127.0.0.1:{server.server_port}", False
        return ApiServer(kubernetes.client.ApiClient(configuration))

    yield connect
    for server in servers:
        server.shutdown()
        server.server_close()


def text(value: object) -> bytes:
    return json.dumps(value).encode()


def test_a_list_is_read_page_by_page(connected: Callable[[Respond], ApiServer]) -> None:
    def respond(path: str, query: dict[str, list[str]], _: Object | None) -> tuple[int, bytes]:
        assert path == "/apis/edge-intelligence.io/v1alpha1/namespaces/lab/inferenceservices"
        more = "continue" not in query
        metadata = {"resourceVersion": "7", **({"continue": "next"} if more else {})}
        return 200, text({"metadata": metadata, "items": [body("a" if more else "b", 5)]})

    items, version = connected(respond).objects(INFERENCE_SERVICES, "lab")
    assert ([each["metadata"]["name"] for each in items], version) == (["a", "b"], "7")
    assert {each["apiVersion"] for each in items} == {"edge-intelligence.io/v1alpha1"}


def test_a_watch_yields_one_object_a_line(connected: Callable[[Respond], ApiServer]) -> None:
    def respond(path: str, query: dict[str, list[str]], _: Object | None) -> tuple[int, bytes]:
        assert (path, query["watch"], query["resourceVersion"]) == ("/api/v1/nodes", ["true"], ["5"])
        lines = [{"type": "ADDED", "object": {"n": 1}}, {"type": "DELETED", "object": {"n": 2}}]
        return 200, b"\n".join(map(text, lines)) + b"\n"

    found = list(connected(respond).watch(NODES, None, "5"))
    assert found == [("ADDED", {"n": 1}), ("DELETED", {"n": 2})]


@pytest.mark.parametrize(
    "response",
    [(410, b"{}"), (200, text({"type": "ERROR", "object": {"code": 410, "message": "too old"}}) + b"\n")],
)
def test_a_version_that_is_too_old_ends_the_watch(
    connected: Callable[[Respond], ApiServer], response: tuple[int, bytes]
) -> None:
    with pytest.raises(Expired):
        list(connected(lambda *_: response).watch(NODES, None, "5"))


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_refusal_of_the_api_server_is_reported(
    connected: Callable[[Respond], ApiServer], status: int
) -> None:
    with pytest.raises(ApiUnreachableError, match=str(status)):
        connected(lambda *_: (status, b"no")).objects(NODES, None)


def test_reviews_send_the_token_and_the_whole_identity(connected: Callable[[Respond], ApiServer]) -> None:
    sent: list[tuple[str, Object]] = []
    who = {"username": "ada", "uid": "1", "groups": ["dev"], "extra": {"scopes": ["view"]}}

    def respond(path: str, query: dict[str, list[str]], body: Object | None) -> tuple[int, bytes]:
        assert body is not None
        sent.append((path.rpartition("/")[2], body["spec"]))
        valid = body["spec"].get("token") == "good"
        status = {"allowed": True} if "user" in body["spec"] else {"authenticated": valid, "user": who}
        return 201, text({"status": status})

    server = connected(respond)
    assert server.review("bad") is None
    identity = server.review("good")
    assert identity == Identity("ada", "1", ("dev",), (("scopes", ("view",)),))
    assert server.allows(identity, Right("placements", "lab"))
    assert [path for path, _ in sent] == ["tokenreviews", "tokenreviews", "subjectaccessreviews"]
    assert sent[-1][1] == {
        "user": "ada",
        "uid": "1",
        "groups": ["dev"],
        "extra": {"scopes": ["view"]},
        "resourceAttributes": {
            "group": "edge-intelligence.io",
            "resource": "placements",
            "verb": "list",
            "namespace": "lab",
        },
    }
