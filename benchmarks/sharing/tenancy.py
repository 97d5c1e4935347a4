"""Tenants that share one node of the testbed: their services, and the clients that send requests to them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final

from benchmarks.pool.processes import cpu_meter, cpu_seconds
from benchmarks.pool.site import DIGITS, Site
from benchmarks.sharing import backlog, manifests
from benchmarks.sharing.backlog_processes import BacklogProcess
from benchmarks.sharing.manifests import SERVICE
from demo.client_processes import ClientProcesses
from demo.clusters import Entrance
from demo.sharing.capacity import Capacity, capacity
from demo.statistics import RequestResult
from testbed.errors import KubectlFailed

NODE: Final = "edge-b"
_LIMITED: Final = "camera"
_WHOLE: Final = "whole-processor"
SPEED: Final = 0.2
"""The node's, in cores: the full model then takes tens of milliseconds on most machines.

Under such a quota, the kernel does not divide by the pods' weights (Linux 6.18; see docs/benchmarks.md).
"""
_FIRST_LATENCY: Final = 10.0
_FIRST_RATE: Final = 0.1
# Pods on several processors do not wait for each other, whatever their shares.
_PROCESSOR: Final = 0
_PORTS: Final = (8080, 8081)


@dataclass(frozen=True)
class Tenancy:
    """The tenants by name, each with the site of its namespace.

    device_class: of the node; profiles of another speed are of another class.
    """

    site: Site
    tenants: Mapping[str, Site]
    device_class: str

    def capacity(self) -> Capacity:
        """Returns what the node's profile says; it was measured while nothing else used the node."""
        first = next(iter(self.tenants.values()))
        profile = first.get("modelprofile", SERVICE, "-n", first.namespace)
        return capacity(profile, self.device_class)

    def declare(self, latency: float, rates: Mapping[str, float]) -> None:
        """Gives the services an SLO and declared rates, and waits until these are planned and in use."""
        self.set_rates(latency, rates)
        for name in rates:
            self.tenants[name].wait(f"the plan for {name}", partial(self._in_use, name), 120)

    def set_rates(self, latency: float, rates: Mapping[str, float]) -> None:
        """Gives the services an SLO and declared rates, without a wait."""
        for name, rate in rates.items():
            self.site.apply([manifests.service(name, file=DIGITS, latency=latency, rate=round(rate, 3))])

    def _in_use(self, name: str) -> bool:
        at = self.tenants[name]
        found = at.get("inferenceservice", SERVICE, "-n", at.namespace)
        conditions = {each["type"]: each for each in found.get("status", {}).get("conditions", [])}
        current = all(
            conditions.get(kind, {}).get("observedGeneration") == found["metadata"]["generation"]
            for kind in ("Planned", "Ready", "Progressing")
        )
        settled = conditions.get("Progressing", {}).get("status") == "False"
        return current and settled and conditions["Ready"]["status"] == "True"

    def send(
        self, rates: Mapping[str, float], seconds: float, timeout: float
    ) -> dict[str, list[RequestResult]]:
        """Sends requests at constant rates, open loop; returns the results by tenant.

        timeout: seconds after which a request is lost.
        """
        with self.clients(rates, timeout) as clients:
            for each in clients:
                each.start()
            self.pass_time("requests", seconds)
            found = [event for each in clients for event in each.stop()]
        results = [event for event in found if isinstance(event, RequestResult)]
        return {name: [result for result in results if result.node == name] for name in rates}

    @contextmanager
    def clients(self, rates: Mapping[str, float], timeout: float) -> Iterator[list[ClientProcesses]]:
        """Clients that are ready to send, one for each tenant; ended at the end."""
        found: list[ClientProcesses] = []
        try:
            for name, rate in rates.items():
                at = self.tenants[name]
                http, grpc = _PORTS
                where = Entrance(self.site.bed.in_node(NODE), self._host(at), http, grpc)
                found.append(
                    ClientProcesses(
                        {name: where}, {name: "http"}, model=SERVICE, rate=rate, timeout=timeout,
                        held_out=self.site.images,
                    )
                )  # fmt: skip
            yield found
        finally:
            for each in found:
                each.end()

    @contextmanager
    def backlogs(self, most: int) -> Iterator[dict[str, BacklogProcess]]:
        """Clients that are ready to keep `most` requests open, one for each tenant; ended at the end."""
        found: dict[str, BacklogProcess] = {}
        try:
            for name, at in self.tenants.items():
                argv = ["--model", SERVICE, "--open", str(most)]
                argv += ["--host", self._host(at), "--http", str(_PORTS[0])]
                found[name] = BacklogProcess(at.client(NODE, *argv, program=backlog.__name__))
            for one in found.values():
                one.wait_ready()
            yield found
        finally:
            for one in found.values():
                one.end()

    def cpu_seconds(self) -> dict[str, float]:
        """Returns the processor time that each tenant's pods at the node have used."""
        return {name: sum(map(cpu_seconds, meters)) for name, meters in self._meters.items()}

    def cpu_requests(self) -> dict[str, list[str]]:
        """Returns the processor time that each tenant's pods at the node request now."""
        return {
            name: [pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] for pod in at.runtimes()]
            for name, at in self.tenants.items()
        }

    def entitlements(self) -> dict[str, float]:
        """Returns the processor time that each tenant is entitled to by the plan, in cores."""
        found = {}
        for name in self.tenants:
            (pool,) = self.site.get("tenant", name)["status"]["pools"]
            (cpu,) = [each for each in pool["resources"] if each["kind"] == "cpu"]
            found[name] = float(cpu["nominal"])
        return found

    def pass_time(self, what: str, seconds: float) -> None:
        """Waits, and says how long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.site.say(f"{what}: {left:.0f} s left")
            time.sleep(min(left, 20.0))

    @cached_property
    def _meters(self) -> dict[str, list[Path]]:
        found = {}
        for name, at in self.tenants.items():
            meters = [cpu_meter(pod["metadata"]["uid"]) for pod in at.runtimes()]
            found[name] = [meter for meter in meters if meter is not None]
        return found

    def _host(self, at: Site) -> str:
        return str(at.get("service", f"edge-runtime-{NODE}", "-n", at.namespace)["spec"]["clusterIP"])


@contextmanager
def tenants(
    site: Site,
    model: Path,
    weights: Mapping[str, float],
    *,
    output: str = "",
    speed: float | None = SPEED,
) -> Iterator[Tenancy]:
    """Tenants with a service each at the node, of which only a profile is known; removed at the end.

    output: of the model, if it is to be the only exit. speed: of the node, in cores; None: all of the
    processor of this machine on which the pods run.
    """
    sites = {name: dataclasses.replace(site, namespace=manifests.namespace_of(name)) for name in weights}
    found = Tenancy(site, sites, _WHOLE if speed is None else _LIMITED)
    _removed(found)
    site.bed.node(NODE).set_speed(speed)
    try:
        site.apply([manifests.pool(NODE, found.device_class)])
        site.apply([manifests.namespace(name) for name in weights])
        site.apply([manifests.tenant(name, weight) for name, weight in weights.items()])
        for at in sites.values():
            at.upload(model, DIGITS)
        services = [
            manifests.service(name, file=DIGITS, latency=_FIRST_LATENCY, rate=_FIRST_RATE, output=output)
            for name in weights
        ]
        site.apply(services)
        for at in sites.values():
            at.wait_ready([SERVICE])
        site.bed.node(NODE).set_processors([_PROCESSOR])
        yield found
    finally:
        _removed(found)
        site.bed.node(NODE).set_processors(None)
        site.bed.node(NODE).set_speed(None)


def _removed(found: Tenancy) -> None:
    for name, at in found.tenants.items():
        with suppress(KubectlFailed):
            at.clear()
        gone = ("--ignore-not-found", "--timeout=120s")
        found.site.bed.kubectl("delete", "namespace", at.namespace, *gone)
        found.site.bed.kubectl("delete", "tenant", name, *gone)


def together(results: Mapping[str, Sequence[RequestResult]], names: Sequence[str]) -> list[RequestResult]:
    """Returns the results of several tenants."""
    return [result for name in names for result in results[name]]
