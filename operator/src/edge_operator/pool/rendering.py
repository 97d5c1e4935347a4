"""Renders a plan as a Placement, which the runtime at an entry node executes. Pure."""

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from edge_api import Placement
from edge_api.devicepools import DevicePoolSpec, TritonServer
from edge_api.first_requests import FirstRequestsTurn
from edge_api.inferenceservices import InferenceServiceSpec
from edge_api.names import placement_name
from edge_api.objects import ObjectMeta
from edge_api.placements import (
    HostPorts,
    LocalLink,
    PlacedLink,
    PlacedModel,
    PlacedSlo,
    PlacementSpec,
    Route,
    RouteOutput,
    Stage,
)
from edge_api.policies import Isolation
from edge_api.quantities import Duration, Quantity
from edge_api.scaling import PlacedIdle
from edge_api.tensors import Slice
from edge_operator.cluster import Object
from edge_operator.keys import SliceKey
from edge_operator.names import (
    ISOLATION_LABEL,
    POOL_LABEL,
    intermediate_slice_name,
    label_value,
)
from edge_operator.nodes.peers import Peers
from edge_operator.nodes.runtimes import Runtime
from edge_operator.nodes.workloads import metadata
from edge_operator.pool import kept_states
from edge_operator.pool import margins as residual_margins
from edge_operator.pool.pieces import pieces
from edge_operator.pool.report_intervals import SHORTEST
from edge_operator.pool_nodes import PoolMember
from edge_operator.store_answers import ModelCard
from edge_operator.tritons.tail_models import tail_name
from edge_planning import plans

LOCAL = "local"
_PEERS = Peers()


def needed_slices(card: ModelCard, tables: Iterable[plans.RouteTable]) -> frozenset[SliceKey]:
    """Returns the slices of all routes of the tables."""
    return frozenset(
        slice_key for table in tables for route in table.routes for slice_key in pieces(card, route).keys
    )


def placement(
    service: Object,
    spec: InferenceServiceSpec,
    member: PoolMember,
    pool: DevicePoolSpec,
    *,
    card: ModelCard,
    table: plans.RouteTable,
    slices: Mapping[SliceKey, Slice],
    server: TritonServer | None,
    rtt: float,
    local_links: tuple[LocalLink, ...] | None = None,
    isolation: Isolation = "Shared",
    peers: Peers = _PEERS,
    installation: str = "",
    margins: Mapping[str, float] = MappingProxyType({}),
    notes: Mapping[str, str] = MappingProxyType({}),
    report_interval: float = SHORTEST,
    first_requests: FirstRequestsTurn | None = None,
) -> Placement:
    """Returns the Placement of one entry node.

    server: that the routes lead to. rtt: the link's round trip (s) that the plan assumed.
    isolation: of the runtimes that serve it now. installation: whose tails the routes use.
    peers: the addresses of intermediate nodes, which are reached through the cluster's Services.
    margins: by exit, those that the plan took from residuals. notes: further annotations. report_interval: in
    seconds. first_requests: what the runtime does with their inputs.
    """
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    meta = metadata(service, placement_name(name, member.node.name), member.node.name)
    labels = {ISOLATION_LABEL: isolation, POOL_LABEL: label_value(spec.device_pool)}
    labels |= peers.labels(member.node.name)
    return Placement(
        metadata=ObjectMeta.model_validate(
            meta
            | {
                "labels": meta["labels"] | labels,
                "annotations": residual_margins.annotations(margins) | dict(notes),
            }
        ),
        spec=PlacementSpec(
            service=name,
            node=member.node.name,
            isolation=isolation,
            mode=spec.mode,
            model=PlacedModel(
                digest=card.digest,
                inputs=card.inputs,
                outputs=card.outputs,
                warm_up=card.warm_up,
                state=kept_states.placed(spec.model, card),
                sequences=spec.model.sequences,
            ),
            slo=PlacedSlo(
                latency=Duration(spec.slo.latency),
                percentile=spec.slo.percentile,
                min_accuracy=spec.slo.min_accuracy,
                objective=spec.slo.objective,
            ),
            link=_link(server, pool, rtt),
            local_links=local_links,
            privacy=spec.privacy,
            early_exit=spec.early_exit,
            deadline=spec.deadline,
            autonomy=spec.autonomy,
            host_ports=_host_ports(member, spec),
            input_filter=spec.input_filter,
            result_cache=spec.result_cache,
            idle=_idle(spec, member),
            rate=spec.planned_rate or None,
            report_interval=Duration(report_interval),
            first_requests=first_requests,
            routes=tuple(
                _route(
                    route,
                    card,
                    member,
                    server,
                    several=len(pool.triton_servers) > 1,
                    slices=slices,
                    service=name,
                    runtimes=Runtime(namespace, "", name if isolation == "Dedicated" else ""),
                    addresses=peers,
                    installation=installation,
                )
                for route in table.routes
            ),
        ),
    )


def _idle(spec: InferenceServiceSpec, member: PoolMember) -> PlacedIdle | None:
    after = spec.scaling.idle_after
    return None if after is None else PlacedIdle(after=after, memory=Quantity(member.idle_memory))


def _host_ports(member: PoolMember, spec: InferenceServiceSpec) -> HostPorts | None:
    """Returns the declared ports of nodes, for a node whose unit serves them while Kubernetes does not."""
    exposure = spec.exposure
    if not member.survives_reboot or exposure is None or not (exposure.http_port or exposure.grpc_port):
        return None
    return HostPorts(http=exposure.http_port, grpc=exposure.grpc_port)


def _link(server: TritonServer | None, pool: DevicePoolSpec, rtt: float) -> PlacedLink | None:
    if server is None:
        return None
    return PlacedLink(
        peer=server.name,
        probe=f"{server.url}/v2/health/live",
        interval=Duration(pool.links.probe_interval),
        budget=Quantity(pool.links.probe_budget),
        round_trip=Duration(rtt),
    )


def _route(
    route: plans.Route,
    card: ModelCard,
    member: PoolMember,
    server: TritonServer | None,
    *,
    several: bool,
    slices: Mapping[SliceKey, Slice],
    service: str,
    runtimes: Runtime,
    addresses: Peers,
    installation: str,
) -> Route:
    made = pieces(card, route)
    stages = []
    if made.head is not None:
        stages.append(
            Stage(
                place=member.node.name,
                runtime="Edge",
                slice=slices[made.head],
                kept=made.head.kept or None,
                predicted_compute=_duration(route.head),
                packed=route.packed,
            )
        )
    if made.middle is not None:
        assert route.intermediate is not None, "only an intermediate node runs a middle slice"
        beyond = [slices[key].digest for key in (made.middle, made.tail) if key is not None]
        if several and server is not None and made.tail is not None:
            beyond.append(server.url)  # entry nodes with other servers do not share the slice
        runtime = dataclasses.replace(runtimes, node=route.intermediate)
        stages.append(
            Stage(
                place=route.intermediate,
                runtime="Edge",
                slice=slices[made.middle],
                kept=made.middle.kept or None,
                address=addresses.url(runtime, member.node.name),
                model=intermediate_slice_name(service, beyond),
                predicted_compute=_duration(route.intermediate_compute),
                packed=route.intermediate_packed,
            )
        )
    if made.tail is not None:
        assert server is not None, "a route with a tail needs a Triton server"
        stages.append(
            Stage(
                place=server.name,
                runtime="Triton",
                slice=slices[made.tail],
                address=server.url,
                model=tail_name(installation, slices[made.tail], server.backend),
                predicted_compute=_duration(route.tail),
            )
        )
    return Route(
        name=route.name,
        exit=route.exit,
        cut=route.cut or LOCAL,
        cut_tensors=made.cut or None,
        codecs=made.codecs or None,
        accuracy=route.accuracy,
        worth=None if route.worth == route.accuracy else route.worth,
        predicted_cost=None if route.cost is None else float(f"{route.cost:.4g}"),
        predicted_energy=None if route.energy is None else float(f"{route.energy:.4g}"),
        predicted_bytes=-(-route.bits // 8) or None,
        min_bandwidth=Quantity(route.min_bandwidth),
        predicted_latency=Duration(route.latency),
        stages=tuple(stages),
        outputs=_response_outputs(card, route.exit, explicit=bool(made.kept)),
    )


def _response_outputs(card: ModelCard, name: str, *, explicit: bool) -> tuple[RouteOutput, ...] | None:
    """Returns the outputs of an exit that keeps its names; None if it answers under the last one's.

    explicit: whether to name them in any case, since not all come from the last stage.
    """
    exit_ = next(each for each in card.exits if each.name == name)
    own = exit_.response_names != "Final" or exit_ is card.exits[-1]
    if not explicit and (not own or exit_ is card.exits[-1]):
        return None
    names = exit_.outputs if own else tuple(tensor.name for tensor in card.outputs)
    pairs = zip(names, exit_.outputs, strict=True)
    return tuple(RouteOutput(name=name, tensor=output) for name, output in pairs)


def _duration(seconds: float | None) -> Duration | None:
    return None if seconds is None else Duration(seconds)
