"""The authority is kept in a Secret; each holder gets a Secret with what TLS needs."""

import base64
import datetime
from typing import Any

import pytest

from edge_operator.authority import provision, schedule
from edge_operator.authority.issuing import certificate_of
from edge_operator.cluster import CONFIG_MAPS, SECRETS
from edge_operator.errors import ObjectRefusedError
from messages import mentions

World = Any  # tests/operator/conftest.py
START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
HOLDER = provision.runtimes("shop", "edge-runtime-tls", "cluster.local")


def renew(world: World, now: datetime.datetime) -> list[str]:
    """One look at what is due; returns what was applied."""
    del world.log[:]
    trusted = provision.authorities(world.cluster, "edge-intelligence", now)
    provision.provide(world.cluster, HOLDER, trusted, now)
    return list(world.log)


def certificate(world: World) -> schedule.Certificate:
    """What the holder's Secret contains."""
    data = world.cluster.get(SECRETS, "shop", "edge-runtime-tls")["data"]
    return certificate_of(*(base64.b64decode(data[name]) for name in ("tls.crt", "tls.key", "ca.crt")))


def test_a_holder_gets_a_certificate_for_its_services_and_clients_get_the_authority(world: World) -> None:
    assert renew(world, START) == [
        "apply Secret edge-authority",
        "apply Secret edge-runtime-tls",
        "apply ConfigMap edge-ca",
    ]
    found = certificate(world)
    assert found.names == {"*.shop.svc.cluster.local", "*.shop.svc"}
    assert found.expires - START == 90 * DAY
    assert found.trusted == {found.signer}
    secret = world.cluster.get(SECRETS, "shop", "edge-runtime-tls")
    assert secret["type"] == "kubernetes.io/tls"
    published = world.cluster.get(CONFIG_MAPS, "shop", "edge-ca")["data"]["ca.crt"]
    assert base64.b64encode(published.encode()).decode() == secret["data"]["ca.crt"]


def test_nothing_is_written_until_the_certificate_is_to_be_renewed(world: World) -> None:
    renew(world, START)
    assert renew(world, START + 59 * DAY) == []
    assert renew(world, START + 60 * DAY) == ["apply Secret edge-runtime-tls"]


def test_through_a_rotation_each_certificate_is_signed_by_an_authority_trusted_a_week_before(
    world: World,
) -> None:
    renew(world, START)
    first = certificate(world).signer
    began = START + schedule.AUTHORITY_LIFETIME * 2 / 3 + DAY
    assert "apply Secret edge-authority" in renew(world, began)
    during = certificate(world)
    assert during.signer == first
    assert len(during.trusted) == 2
    renew(world, began + schedule.DISTRIBUTION)
    after = certificate(world)
    assert after.signer in during.trusted - {first}
    assert after.trusted == during.trusted
    renew(world, began + schedule.DISTRIBUTION + schedule.LIFETIME)
    assert certificate(world).trusted == {after.signer}


@pytest.mark.parametrize("file", ["tls.crt", "tls.key", "ca.crt"])
def test_a_secret_that_cannot_be_used_is_issued_again(world: World, file: str) -> None:
    renew(world, START)
    secret = world.cluster.get(SECRETS, "shop", "edge-runtime-tls")
    world.cluster.put(secret | {"data": secret["data"] | {file: "bm90aGluZw=="}})
    assert renew(world, START) == ["apply Secret edge-runtime-tls"]


def test_an_authority_that_cannot_be_read_is_not_replaced(world: World) -> None:
    renew(world, START)
    secret = world.cluster.get(SECRETS, "edge-intelligence", "edge-authority")
    key = next(name for name in secret["data"] if name.endswith(".key"))
    world.cluster.put(secret | {"data": secret["data"] | {key: "bm90aGluZw=="}})
    with pytest.raises(ObjectRefusedError) as refusal:
        renew(world, START)
    assert mentions("Secret edge-intelligence/edge-authority", key, "delete").search(str(refusal.value))


@pytest.mark.parametrize(
    ("kind", "namespace", "name"),
    [
        (SECRETS, "edge-intelligence", "edge-authority"),
        (SECRETS, "shop", "edge-runtime-tls"),
        (CONFIG_MAPS, "shop", "edge-ca"),
    ],
)
def test_an_object_of_someone_else_is_not_replaced(
    world: World, kind: Any, namespace: str, name: str
) -> None:
    meta = {"name": name, "namespace": namespace}
    world.cluster.put({"apiVersion": "v1", "kind": kind.kind, "metadata": meta, "data": {}})
    with pytest.raises(ObjectRefusedError) as refusal:
        renew(world, START)
    assert mentions(f"{kind.kind} {namespace}/{name}", "rename").search(str(refusal.value))
