"""The operator issues the webhook's certificate, and tells the API server whom to trust."""

import base64
import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_operator.authority.upkeep import Upkeep
from edge_operator.authority.webhook_trust import SECRET, trust, webhook_holder
from edge_operator.cluster import SECRETS, WEBHOOKS
from edge_operator.settings import Settings

World = Any  # tests/operator/conftest.py
NAME = "edge-intelligence-edge-admission"
SETTINGS = Settings("https://model-store:8080", "runtime", issues_certificates=True, admission_webhook=NAME)
CONFIGURATION = {
    "apiVersion": WEBHOOKS.api_version,
    "kind": WEBHOOKS.kind,
    "metadata": {"name": NAME},
    "webhooks": [{"name": "admission.edge-intelligence.io", "clientConfig": {"service": {"name": "a"}}}],
}
NOW = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)


def bundles(world: World) -> list[bytes]:
    hooks = world.cluster.get(WEBHOOKS, None, NAME)["webhooks"]
    return [base64.b64decode(each["clientConfig"].get("caBundle", "")) for each in hooks]


def test_the_webhook_gets_a_certificate_and_the_api_server_its_authority(
    world: World, tmp_path: Path
) -> None:
    world.cluster.put(CONFIGURATION)
    upkeep = Upkeep(world.cluster, replace(SETTINGS, tls_dir=str(tmp_path)), set, lambda: NOW)
    upkeep.renew()
    secret = world.cluster.get(SECRETS, "edge-intelligence", SECRET)
    assert bundles(world) == [base64.b64decode(secret["data"]["ca.crt"])]
    del world.log[:]
    upkeep.renew()
    assert world.log == []


def test_a_given_certificate_or_a_webhook_that_is_not_installed_has_no_holder() -> None:
    holder = webhook_holder(SETTINGS)
    assert holder is not None
    assert holder.names == {
        "edge-admission.edge-intelligence.svc",
        "edge-admission.edge-intelligence.svc.cluster.local",
    }
    assert webhook_holder(replace(SETTINGS, admission_secret="given")) is None
    assert webhook_holder(replace(SETTINGS, admission_webhook="")) is None


def test_a_configuration_that_does_not_exist_is_not_created(world: World) -> None:
    del world.log[:]
    trust(world.cluster, NAME, b"authority")
    assert world.log == []
