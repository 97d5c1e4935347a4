"""How commands end: exit statuses, and one sentence on standard error."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_cli import connections
from edge_cli.errors import ExitStatus
from edge_operator.errors import ApiUnreachableError, PermissionDeniedError
from messages import mentions

World = Any
Ei = Any


def test_a_service_that_does_not_exist_is_one_sentence_with_those_that_do(ei: Ei) -> None:
    done = ei("explain", "digit")
    assert (done.status, done.out) == (ExitStatus.PROBLEM, "")
    assert len(done.err.splitlines()) == 1
    assert mentions("ei:", "default/digit", "digits").search(done.err)


@pytest.mark.parametrize(
    ("error", "status"),
    [(PermissionDeniedError, ExitStatus.DENIED), (ApiUnreachableError, ExitStatus.UNREACHABLE)],
)
def test_a_refused_and_a_lost_request_have_exit_statuses_of_their_own(
    world: World, ei: Ei, monkeypatch: pytest.MonkeyPatch, error: type[Exception], status: ExitStatus
) -> None:
    def fail(*_: object) -> None:
        raise error("listing inferenceservices failed: because")

    monkeypatch.setattr(world.cluster, "find", fail)
    done = ei("status")
    assert done.status == status
    assert done.err == "ei: listing inferenceservices failed: because\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain",),
        ("explain", "digits", "--nonsense"),
        ("what-if", "digits", "--latency", "50"),
        ("what-if", "digits", "--bandwidth", "fast"),
        ("what-if", "digits"),
        ("doctor", "--fail-on", "panic"),
        ("doctor", "--category", "weather"),
        ("doctor", "--suppress", "EI9999"),
        ("completion", "tcsh"),
        ("infer", "digits"),
    ],
)
def test_a_wrong_command_line_ends_with_two(ei: Ei, arguments: tuple[str, ...]) -> None:
    done = ei(*arguments)
    assert (done.status, done.out) == (ExitStatus.USAGE, "")
    assert done.err


def test_a_mistyped_command_names_the_one_that_exists(run: Ei) -> None:
    done = run("explian", "digits")
    assert done.status == ExitStatus.USAGE
    assert "explain" in done.err


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    cluster = {"server": "http://127.0.0.1:1"}
    contexts = [
        {"name": name, "context": {"cluster": "here", "user": "me"} | ({"namespace": where} if where else {})}
        for name, where in (("shop", "shop"), ("bare", ""))
    ]
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "shop",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "me", "user": {"token": "none"}}],
        "contexts": contexts,
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_namespace_is_that_of_the_context_unless_it_is_given(kubeconfig: Path) -> None:
    assert connections.connect(None, None, kubeconfig).namespace == "shop"
    assert connections.connect(None, "bare", kubeconfig).namespace == "default"
    assert connections.connect("bank", "shop", kubeconfig).namespace == "bank"


def test_a_context_that_does_not_exist_names_the_flag(kubeconfig: Path, run: Ei) -> None:
    done = run("status", "--kubeconfig", str(kubeconfig), "--context", "lost")
    assert done.status == ExitStatus.UNREACHABLE
    assert mentions("lost", "--context").search(done.err)


def test_a_kubeconfig_that_does_not_exist_names_the_flag(tmp_path: Path, run: Ei) -> None:
    done = run("status", "--kubeconfig", str(tmp_path / "none"))
    assert done.status == ExitStatus.UNREACHABLE
    assert mentions("KUBECONFIG", "--kubeconfig").search(done.err)


def test_json_and_yaml_are_the_same_document(world: World, ei: Ei) -> None:
    world.settle()
    for command in (("status",), ("routes", "digits"), ("explain", "digits"), ("tenants",)):
        as_json = json.loads(ei(*command, "-o", "json").out)
        assert yaml.safe_load(ei(*command, "-o", "yaml").out) == as_json
