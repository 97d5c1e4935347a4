"""How kopf is set up."""

from typing import Any

import kopf
import pytest

from edge_operator.handlers import configure, run
from edge_operator.settings import Settings


def test_streams_end_by_themselves_so_that_a_dropped_one_is_noticed() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)
    assert settings.watching.server_timeout is not None
    assert settings.watching.client_timeout is not None
    assert settings.watching.client_timeout > settings.watching.server_timeout
    assert settings.posting.enabled is False
    assert settings.persistence.finalizer.startswith("edge-intelligence.io/")


@pytest.mark.parametrize(
    ("ip", "endpoint"),
    [("10.1.2.3", "http://0.0.0.0:8080/healthz"), ("fd00::7", "http://[::]:8080/healthz")],
)
def test_the_operators_health_is_served_on_the_address_family_of_the_kubelet(
    ip: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(kopf, "run", lambda **given: told.update(given))
    monkeypatch.setattr(kopf, "configure", lambda **_: None)
    run(None, Settings("http://store:8080", "edge-runtime:1", pod_ip=ip), 8080, "plain")
    assert told["liveness_endpoint"] == endpoint
