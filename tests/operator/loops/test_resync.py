"""Deletions that no watch reported are found."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from edge_operator.cluster import NODES, PLACEMENTS, Kind
from edge_operator.errors import ClusterError
from edge_operator.leadership import Leadership
from edge_operator.loops.operator import Operator
from edge_operator.observed.mirror import Mirror

World = Any  # tests/operator/conftest.py


def placement(name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": name}
    return {"kind": "Placement", "metadata": metadata, "spec": {"node": name}}


async def test_what_is_gone_is_an_event_also_if_another_kind_cannot_be_listed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = asyncio.Queue[tuple[Kind, str | None, str]]()

    class Recording(Operator):
        def event(
            self, kind: Kind, event_type: str | None, body: Mapping[str, Any], *, own: bool = False
        ) -> None:
            events.put_nowait((kind, event_type, body["metadata"]["name"]))

    find, mirror = world.cluster.find, Mirror()

    def fails(kind: Kind, *rest: Any) -> Any:
        if kind == NODES:
            raise ClusterError("no response")
        return find(kind, *rest)

    monkeypatch.setattr(world.cluster, "find", fails)
    monkeypatch.setattr("edge_operator.loops.operator.RESYNC", 0.0)
    world.cluster.put(placement("kept") | {"apiVersion": "edge-intelligence.io/v1alpha1"})
    for name in ("kept", "gone"):
        mirror.put("Placement", placement(name))
    leadership = Leadership(world.cluster, "edge-intelligence", "a")
    operator = Recording(world.clients, world.settings, None, world.cluster, mirror, leadership)
    searching = asyncio.create_task(operator.resync())
    async with asyncio.timeout(20):
        assert await events.get() == (PLACEMENTS, "DELETED", "gone")
    searching.cancel()
    assert mirror.get("Placement", "default", "gone") is None
    assert mirror.get("Placement", "default", "kept") is not None
