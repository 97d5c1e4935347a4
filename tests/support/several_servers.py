"""Several Triton servers in the world of an operator's test."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from edge_operator.cluster import Object
from edge_operator.tritons.tail_models import Tail
from edge_operator.tritons.triton import Arrays, Opener, Timed

World = Any  # tests/operator/conftest.py


def address_of(name: str) -> str:
    return f"{name}.test:8000"


class Servers:
    """Passes requests to the server at their address. by_name: servers of the world, by their name."""

    def __init__(self, server: Any, names: tuple[str, ...]) -> None:
        """server: one of them, which is copied."""
        self.by_name = {
            name: dataclasses.replace(
                server, url=f"http://{address_of(name)}", models=set(), marks={}, asked=set()
            )
            for name in names
        }

    def ready(self, address: str) -> frozenset[str]:
        found: frozenset[str] = self._at(address).ready(address)
        return found

    def parameters(self, address: str, name: str) -> Mapping[str, str]:
        found: Mapping[str, str] = self._at(address).parameters(address, name)
        return found

    def load(self, tail: Tail, onnx: Opener) -> None:
        self._at(tail.address).load(tail, onnx)

    def unload(self, address: str, name: str) -> None:
        self._at(address).unload(address, name)

    def control_open(self, address: str) -> bool:
        return bool(self._at(address).control_open(address))

    def timed(self, address: str, name: str, feeds: Arrays, runs: int) -> Timed:
        found: Timed = self._at(address).timed(address, name, feeds, runs)
        return found

    def _at(self, address: str) -> Any:
        return next(server for server in self.by_name.values() if server.url == address)


def give_servers(world: World, names: tuple[str, ...], **fields: Mapping[str, Any]) -> Servers:
    """Replaces the pool's Triton server by these. fields: of servers in the DevicePool, by name with `_`."""
    body: Object = world.pool()
    (server,) = body["spec"]["tritonServers"]
    body["spec"]["tritonServers"] = [
        server | {"name": name, "httpAddress": address_of(name)} | fields.get(name.replace("-", "_"), {})
        for name in names
    ]
    world.cluster.put(body)
    world.triton = Servers(world.triton, names)
    return world.triton  # type: ignore[no-any-return]


def used(world: World) -> dict[str, str]:
    """The server that the table of each entry node leads to, by node."""
    found = {}
    for node, body in world.placements().items():
        places = {s["place"] for r in body["spec"]["routes"] for s in r["stages"] if s["runtime"] == "Triton"}
        assert places <= {body["spec"]["link"]["peer"]}
        found[node] = body["spec"]["link"]["peer"]
    return found


def pass_time(world: World, seconds: float, **reports: Any) -> None:
    """Reconciles every 10 s; the runtimes report what they received."""
    end = world.now + seconds
    while world.now < end:
        world.now += 10
        world.reconcile()
        world.runtimes_report(**reports)
