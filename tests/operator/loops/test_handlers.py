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


def test_kopf_copies_and_compares_no_objects() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)
    body = kopf.Body({"metadata": {"name": "digits"}, "spec": {"mode": "Auto"}})
    assert settings.persistence.diffbase_storage.build(body=body) == {}
    assert settings.persistence.diffbase_storage.fetch(body=body) is None


@pytest.mark.parametrize(("ip", "address"), [("10.1.2.3", "0.0.0.0"), ("fd00::7", "::")])
def test_the_operators_health_is_served_on_the_address_family_of_the_kubelet(
    ip: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    served: list[tuple[str, int]] = []

    class Recording:
        def __init__(self, host: str, port: int, _: object) -> None:
            served.append((host, port))

        def start(self) -> None:
            served.append(("started", port_of(served)))

    def port_of(each: list[tuple[str, int]]) -> int:
        return each[-1][1]

    monkeypatch.setattr("edge_operator.handlers.HealthServer", Recording)
    monkeypatch.setattr(kopf, "run", lambda **given: told.update(given))
    monkeypatch.setattr(kopf, "configure", lambda **_: None)
    run(None, Settings("http://store:8080", "edge-runtime:1", pod_ip=ip), 8080, "plain")
    assert served == [(address, 8080), ("started", 8080)]
    assert told["memo"].health.state.not_ready
