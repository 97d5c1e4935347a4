"""Faults of other namespaces on the same nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import yaml

from benchmarks.faults.ground import POOL, Ground
from benchmarks.faults.links import NODE
from benchmarks.faults.runs import During, Fault, Site
from demo import installation
from demo.clusters import Entrance
from demo.sharing import manifests
from edge_api.quantities import parse_duration

_NOISY, _QUIET, _DOOMED = "faults-noisy", "faults-quiet", "faults-doomed"
_FILE: Final = installation.STORED_AT
_SHARE: Final = 0.1
"""Part of the node that the declared rate of a service takes by its full model."""
_TIMES: Final = 10.0
_SENT: Final = 100
"""Requests of the noisy tenant beyond its rate."""
_GONE: Final = ("--ignore-not-found", "--timeout=180s")


@contextmanager
def tenant_over_its_rate(during: During) -> Iterator[None]:
    """A tenant sends ten times its declared rate; it alone is refused what exceeds its part."""
    # A refusal of what exceeds the part of the tenant breaks nothing.
    during.excused = lambda request: request.node == _NOISY and request.refused
    rate = _rate(during.ground)
    during.set_rate(_TIMES * rate)
    try:
        during.flow(_SENT, of=(_NOISY,))
        during.flow()
        yield
    finally:
        during.set_rate(rate)


@contextmanager
def two_tenants(ground: Ground) -> Iterator[Site]:
    """The example and a service of another namespace at one of its nodes, of tenants of equal weight."""
    tenants = [manifests.tenant(_QUIET, ground.namespace, 1), manifests.tenant(_NOISY, _NOISY, 1)]
    with _neighbor(ground, _NOISY) as entrance:
        ground.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(tenants))
        try:
            ground.wait("both tenants", lambda: not ground.unsettled(ground.conditions()))
            yield Site(ground, more={_NOISY: entrance}, rate=_rate(ground))
        finally:
            for name in (_QUIET, _NOISY):
                installation.delete_tenant(ground.kubectl, name)


@contextmanager
def namespace_deleted(during: During) -> Iterator[None]:
    """The namespace of a service is deleted while clients call it."""
    during.is_gone(_DOOMED)
    during.ground.kubectl("delete", "namespace", _DOOMED, "--wait=false")
    during.wait("the end of the namespace", lambda: not _exists(during.ground, _DOOMED))
    during.flow()
    yield


@contextmanager
def doomed(ground: Ground) -> Iterator[Site]:
    """A service of another namespace at one of the example's nodes."""
    with _neighbor(ground, _DOOMED) as entrance:
        yield Site(ground, more={_DOOMED: entrance})


@contextmanager
def _neighbor(ground: Ground, namespace: str) -> Iterator[Entrance]:
    """The example's model as a service of another namespace, with how to reach it."""
    body = manifests.service(
        ground.service,
        namespace,
        pool=POOL,
        file=_FILE,
        latency=ground.slo,
        rate=_rate(ground),
        entries={"kubernetes.io/hostname": NODE},
    )
    ground.kubectl("apply", "-f", "-", text=yaml.safe_dump(manifests.namespace(namespace)))
    try:
        ground.wait("the namespace's account", lambda: _has_account(ground, namespace))
        installation.upload(ground.cluster, ground.model, namespace=namespace)
        with ground.unlimited():
            ground.kubectl("apply", "-f", "-", text=yaml.safe_dump(body))
            ready = lambda: ground.condition(ground.service, "Ready", namespace).get("status") == "True"  # noqa: E731
            ground.wait(f"the service of {namespace}", ready)
        (entrance,) = installation.entrances(ground.cluster, [NODE], namespace).values()
        yield entrance
    finally:
        ground.kubectl("delete", "namespace", namespace, *_GONE)


def _has_account(ground: Ground, namespace: str) -> bool:
    found = ground.kubectl("get", "serviceaccount", "default", "-n", namespace, "--ignore-not-found")
    return bool(found.strip())


def _exists(ground: Ground, namespace: str) -> bool:
    return bool(ground.kubectl("get", "namespace", namespace, "--ignore-not-found").strip())


def _rate(ground: Ground) -> float:
    """Requests a second that take `_SHARE` of the node by the full model, by its profile."""
    profile = ground.get("modelprofile", ground.service, "-n", ground.namespace)["spec"]["deviceClasses"]
    (camera,) = [each for each in profile if each["name"] == "camera"]
    return _SHARE / float(parse_duration(camera["exits"][-1]["mean"]))


FAULTS: Final[dict[str, Fault]] = {
    "tenant at ten times its rate": Fault(tenant_over_its_rate, two_tenants),
    "namespace deleted under traffic": Fault(namespace_deleted, doomed),
}
