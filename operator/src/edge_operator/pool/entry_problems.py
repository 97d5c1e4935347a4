"""Builds the planning problems of one service. Pure.

Equal parts of the problems are one object: models and profiles are large, and a pool compares thousands of
problems.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from edge_api.devicepools import DevicePoolSpec, TritonServer
from edge_operator.pool import manifests, margins
from edge_operator.pool.codecs import usable_codecs
from edge_operator.pool.margins import ClassRatios, Ratios
from edge_operator.pool.pooled import LinkKey, PooledService
from edge_operator.pool.server_links import Link
from edge_operator.pool_nodes import PoolMember
from edge_planning import ClassProfile, Codec, EntryProblem, IntermediateNode, Load, Model, PlanningError
from edge_planning.choosing.entries import check_objective
from edge_planning.pools.packings import packings, unpacked
from edge_planning.responses import crossing

NO_SERVER = "the cloud"
"""The remote end of a problem without a Triton server."""


class _Base(NamedTuple):
    device_class: str
    watts: float
    radio: str | None
    remote: str | None


class ServiceProblems:
    """The problems of a service at its nodes."""

    def __init__(self, service: PooledService, pool: DevicePoolSpec) -> None:
        """Raises PlanningError if the metadata or the measurements cannot be planned with."""
        self._made_of = _parts(service, pool)
        self._service, self._pool = service, pool
        self.digest = service.metadata.digest
        self.model = sized(manifests.planned_model(service.key.name, service.metadata), service.metadata.size)
        self._codecs = usable_codecs(service.accuracies)
        self.fingerprint = _fingerprint(service, pool, self.model, self._codecs)
        self._profiles: dict[tuple[str, tuple[tuple[str, float], ...]], ClassProfile] = {}
        self._unpacked: dict[int, tuple[ClassProfile, ClassProfile]] = {}
        self._bases: dict[_Base, EntryProblem] = {}
        self._nodes: dict[tuple[str, str, Link], IntermediateNode] = {}
        for name in service.profiles:
            for exit_ in self.model.exits:
                self._profile(name).means(exit_)

    def still_holds(self, service: PooledService, pool: DevicePoolSpec) -> bool:
        """Whether the problems of the service have the same parts as before."""
        return self._made_of == _parts(service, pool)

    def problem(
        self,
        member: PoolMember,
        server: TritonServer | None,
        link: Link,
        near: Iterable[tuple[PoolMember, Link]],
        ratios: Ratios,
        service: PooledService,
    ) -> EntryProblem:
        """Returns the problem of a node.

        server: of a profiled class; None without one. link: to the server. near: the nodes that can be
        intermediate ones, with the links to them. ratios: those that count for the node. service: as it
        is now. Raises PlanningError.
        """
        base = self._base(member, server.device_class if server is not None else None)
        problem = replace(
            base,
            node=member.node.name,
            peer=server.name if server is not None else NO_SERVER,
            rtt=link.rtt,
            bandwidth=link.bandwidth,
            intermediates=tuple(
                self._intermediate(each, link)
                for each, link in near
                if each.device_class in self._service.profiles
                and (server is None or each.node.name != server.name)
            ),
        )
        found = margins.planned_margins(problem, service.placements.get(member.node.name), ratios)
        return replace(problem, entry=self._profile(member.device_class, found)) if found else problem

    def packings(self, problems: Iterable[EntryProblem]) -> tuple[EntryProblem, ...]:
        """Returns the problems with each choice of packed weights."""
        return tuple(each for one in problems for each in packings(one, self._without_packing))

    def _without_packing(self, profile: ClassProfile) -> ClassProfile:
        known = self._unpacked.get(id(profile))
        if known is None:
            # The packed one stays alive, so that its id stays its own.
            known = self._unpacked[id(profile)] = profile, unpacked(profile)
        return known[1]

    def ratios(
        self, service: PooledService, members: Iterable[PoolMember], member: PoolMember
    ) -> ClassRatios:
        """Returns the measured over the predicted compute times of the member's class."""
        return margins.ratios(service.placements, members, service.profiles, member)

    def _base(self, member: PoolMember, remote: str | None) -> EntryProblem:
        key = _Base(member.device_class, member.watts, member.radio, remote)
        if key not in self._bases:
            service = self._service
            made = manifests.entry_problem(
                service.spec,
                self.model,
                service.profiles,
                member,
                remote=remote,
                peer=NO_SERVER,
                rtt=0.0,
                bandwidth=None,
                codecs=self._codecs,
                confidences=service.accuracies.confidences if service.accuracies is not None else (),
                prices=self._pool.prices,
                stays=bool(service.metadata.local),
            )
            made = replace(
                made,
                entry=self._profile(member.device_class),
                remote=self._profile(remote) if remote is not None else None,
                load=Load(),  # plan_pool sets the rates
                remote_load=Load(),
            )
            check_objective(made)
            self._bases[key] = made
        return self._bases[key]

    def _profile(self, device_class: str, planned: Mapping[str, float] | None = None) -> ClassProfile:
        key = (device_class, tuple(sorted((planned or {}).items())))
        if key not in self._profiles:
            profile = manifests.class_profile(self._service.profiles[device_class])
            self._profiles[key] = replace(profile, margins=planned) if planned else profile
        return self._profiles[key]

    def _intermediate(self, member: PoolMember, link: Link) -> IntermediateNode:
        key = (member.node.name, member.device_class, link)
        if key not in self._nodes:
            declared = float(self._pool.links.local.bandwidth)
            self._nodes[key] = IntermediateNode(
                member.node.name,
                self._profile(member.device_class),
                declared if link.bandwidth is None else link.bandwidth,
                link.rtt,
            )
        return self._nodes[key]


def problems_of(
    service: PooledService, pool: DevicePoolSpec, before: ServiceProblems | None
) -> ServiceProblems | PlanningError:
    """Returns the problems of a service, those before if their parts are the same; or why it has none."""
    if before is not None and before.still_holds(service, pool):
        return before
    try:
        return ServiceProblems(service, pool)
    except PlanningError as error:
        return error


def link_to_node(service: PooledService, pool: DevicePoolSpec, key: LinkKey) -> Link:
    """Returns the link to an intermediate node: as measured, else as declared."""
    found = service.links.get(key)
    return Link(float(pool.links.local.round_trip)) if found is None else found


def sized(model: Model, size: int) -> Model:
    """Returns the model with the bytes of its parts: equal ones, that add up to the file from first to last.

    The sizes of slices are not known before they are cut.
    """
    each = size / len(model.exits[-1].segments())
    return replace(model, memory={pair: each for exit_ in model.exits for pair in exit_.segments()})


def _fingerprint(service: PooledService, pool: DevicePoolSpec, model: Model, codecs: Iterable[Codec]) -> str:
    """Returns what differs for other parts.

    It is the same after a restart, when metadata and measurements come from the ModelProfile: without what
    that leaves out or rounds.
    """
    exits = [
        (
            each.name,
            each.end,
            f"{each.accuracy:.3g}",
            [(cut.tensors, cut.size) for cut in each.cuts],
            *filter(None, [crossing(each.response)]),
        )
        for each in model.exits
    ]
    profiles = [
        (
            name,
            sorted(profile.segments.items()),
            sorted(profile.exits.items()),
            *(() if profile.requests is None else (profile.requests,)),
            *(() if profile.packing is None else (profile.packing,)),
        )
        for name, each in sorted(service.profiles.items())
        for profile in (manifests.class_profile(each),)
    ]
    confidences = service.accuracies.confidences if service.accuracies is not None else ()
    parts = (
        service.spec.model_dump_json(),
        exits,
        sorted(model.input_copies),
        sorted(model.memory.items()),
        profiles,
        [(codec.name, sorted(codec.at or ())) for codec in codecs],
        [each.threshold for each in confidences],
        pool.links.local.model_dump_json(),
        pool.prices.model_dump_json(),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _parts(service: PooledService, pool: DevicePoolSpec) -> tuple[object, ...]:
    return (
        service.spec,
        service.metadata,
        dict(service.profiles),
        service.accuracies,
        pool.links.local,
        pool.prices,
    )
