"""A request to the API server is sent once: the queue repeats what fails."""

import json
from pathlib import Path
from typing import Any

import pytest
import urllib3.connection

from edge_operator.cluster import PLACEMENTS, ApiServer
from edge_operator.errors import ApiUnreachableError


def test_a_write_without_a_response_is_not_repeated_while_another_operator_may_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leadership counts on the time that one request takes at most."""
    sent: list[str] = []

    def send(_: object, method: str, *rest: object, **more: object) -> None:
        sent.append(method)

    def wait(_: object) -> Any:
        raise TimeoutError("timed out")

    monkeypatch.setattr(urllib3.connection.HTTPConnection, "request", send)
    monkeypatch.setattr(urllib3.connection.HTTPConnection, "getresponse", wait)
    kubeconfig = {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "operator"}}],
        "clusters": [{"name": "test", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "operator", "user": {"token": "none"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(kubeconfig))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    server = ApiServer.from_environment()
    with pytest.raises(ApiUnreachableError, match="deleting Placement"):
        server.delete(PLACEMENTS, "default", "digits.edge-a")
    assert sent == ["DELETE"]
