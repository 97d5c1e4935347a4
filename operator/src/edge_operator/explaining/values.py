"""An explanation, as `ei explain -o json` prints it."""

from typing import Literal

from edge_api.objects import Part
from edge_api.quantities import Duration, Quantity
from edge_api.tenants import TenantPoolStatus

Table = Literal["Published", "Standing", "New", "Changed", "WithoutRoom", "None"]
"""The published table against what is planned now.

Published: it is what is planned now. Standing: another one would be as good, but nothing that it was planned
for has changed, so it stays. New: none is published yet. Changed: it is to be replaced. WithoutRoom: it stays
although the pool has no room for it. None: no table is published or
planned.
"""


class ConditionNow(Part):
    """A condition that is not True, with the meaning and the fix of its reason."""

    type: str
    status: str
    reason: str
    message: str
    meaning: str = ""
    fix: str = ""


class PlannedRoute(Part):
    """A route of the table.

    predicted_cost: of a request; None if nothing has a price. meets_from: bandwidth (bit/s) from which it
    meets the SLO; None: never.
    """

    name: str
    accuracy: float
    min_bandwidth: Quantity
    predicted_latency: Duration
    predicted_cost: float | None = None
    meets_from: Quantity | None = None


class Lost(Part):
    """A candidate outside the route table, and the route or the full resource that ruled it out.

    meets_from as in PlannedRoute.
    """

    name: str
    accuracy: float
    meets_from: Quantity | None = None
    reason: str


class Weighed(Part):
    """A candidate at one bandwidth. latency: None without a link. reason: None for the chosen one.

    joules: of the entry node per request, as far as the pool declares watts and radio; None if it does not.
    cost: of a request, by the pool's prices; None if nothing has a price.
    """

    name: str
    where: str
    accuracy: float
    latency: Duration | None = None
    joules: float | None = None
    cost: float | None = None
    reason: str | None = None


class PlannedRate(Part):
    """Requests per second that are planned for, where the rate is from, and how many of them are reserved.

    fitting: of measured ones, those for which the pool has room; None if it has room for all. binding: of
    what it has too little.
    """

    value: float
    source: Literal["Declared", "Measured", "Default"]
    reserved: float
    fitting: float | None = None
    binding: str = ""


class PlannedLink(Part):
    """A link of the entry node. bandwidth: in bit/s, that is planned with; None before it is measured."""

    peer: str
    round_trip: Duration
    bandwidth: Quantity | None = None


class PlannedMargin(Part):
    """The factor by which compute times at the SLO's percentile exceed their means.

    measured: whether it is from requests; otherwise it is the profile's.
    """

    exit: str
    factor: float
    measured: bool


class PlannedPacking(Part):
    """Whether a node packs the weights of the model's slices.

    memory: in bytes for each byte of a slice's file. other_memory: with the other choice. slowdown: how much
    longer runs take without packed weights, as a factor.
    """

    place: str
    packed: bool
    memory: float
    other_memory: float
    slowdown: float


class ResourceUse(Part):
    """A resource that the table uses: by this service, by all, and its capacity (None: unlimited).

    In compute seconds per second, bytes or bit/s. Memory that services share counts for each of them.
    """

    resource: Literal["Cpu", "Memory", "Uplink", "Triton"]
    place: str
    own: float
    total: float
    capacity: float | None = None


class EntryExplanation(Part):
    """One entry node. bandwidth (bit/s): measured now, or the top of the range that was planned for.

    server: the Triton server of the link. limits: why the plan does not meet the SLO at every bandwidth.
    packing: of the entry node and of intermediate nodes, where there is a choice.
    request_time: of the node's processors for a request that a local route answers, outside of inference;
    None if it is not measured. shortage: what the pool has too little of, who uses it, and what would make
    room. remedies: changes with which the SLO would be met at `bandwidth`.
    """

    node: str
    device_class: str
    feasible: bool
    meets_slo: bool
    active_route: str | None = None
    table: Table
    server: str | None = None
    bandwidth: Quantity
    measured: bool
    nearest_feasible_latency: Duration | None = None
    rate: PlannedRate
    links: tuple[PlannedLink, ...] = ()
    margins: tuple[PlannedMargin, ...] = ()
    packing: tuple[PlannedPacking, ...] = ()
    request_time: Duration | None = None
    uses: tuple[ResourceUse, ...] = ()
    routes: tuple[PlannedRoute, ...] = ()
    limits: tuple[str, ...] = ()
    shortage: str = ""
    remedies: tuple[str, ...] = ()
    rejected: tuple[Lost, ...] = ()
    weighed: tuple[Weighed, ...] = ()


class TenantExplanation(Part):
    """The tenant of the service's namespace. pool: what all its services have of the service's pool."""

    name: str
    pool: TenantPoolStatus


class Explanation(Part):
    """One service.

    tenant: None if there are no Tenants. notes: where this may differ from what the operator planned.
    """

    service: str
    namespace: str
    latency: Duration
    percentile: float
    min_accuracy: float | None = None
    mode: str
    optimize: str
    conditions: tuple[ConditionNow, ...] = ()
    tenant: TenantExplanation | None = None
    notes: tuple[str, ...] = ()
    entries: tuple[EntryExplanation, ...]


class Outcome(Part):
    """The route that an entry node uses at a bandwidth (bit/s), and the predicted latency there.

    route, latency: None without a route table. routes: names of the table.
    """

    bandwidth: Quantity
    route: str | None = None
    accuracy: float | None = None
    latency: Duration | None = None
    meets_slo: bool
    routes: tuple[str, ...] = ()


class EntrySupposition(Part):
    """An entry node as it is, and as it would be. Other fields: of what would be, as in EntryExplanation."""

    node: str
    before: Outcome
    after: Outcome
    nearest_feasible_latency: Duration | None = None
    shortage: str = ""
    remedies: tuple[str, ...] = ()


class SupposedService(Part):
    """A service under a supposition. latency: of the supposed SLO. notes: as in Explanation."""

    service: str
    namespace: str
    latency: Duration
    notes: tuple[str, ...] = ()
    entries: tuple[EntrySupposition, ...]


Change = Literal["New", "Removed", "Unchanged", "Better", "Worse", "Other"]
"""A planned table against the one before: by whether it meets the SLO, then by its expected accuracy."""


class PlannedTable(Part):
    """What a service gets at an entry node.

    routes: each with the bandwidth (bit/s) from which it is used. names: those of the routes. accuracy: of
    the best route. expected_accuracy: of responses in time over all bandwidths; 0 without a table.
    """

    routes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    accuracy: float | None = None
    expected_accuracy: float = 0.0
    meets_slo: bool
    shortage: str = ""


class EntryChange(Part):
    """A service at an entry node, before and after; None: it has no part in the plan there."""

    service: str
    namespace: str
    node: str
    change: Change
    before: PlannedTable | None = None
    after: PlannedTable | None = None


class WaitingService(Part):
    """A service that cannot be planned yet. reason: of its condition; empty before the first condition."""

    service: str
    namespace: str
    reason: str = ""
    message: str


class TenantChange(Part):
    """The largest share of a pool that a tenant uses, such as 30%; None: it uses nothing there."""

    tenant: str
    pool: str
    before: str | None = None
    after: str | None = None


class ObjectChange(Part):
    """What applying does to an object."""

    kind: str
    namespace: str = ""
    name: str
    change: Literal["Create", "Update", "Unchanged"]


class Preview(Part):
    """What would change if manifests were applied. notes: as in Explanation."""

    objects: tuple[ObjectChange, ...]
    entries: tuple[EntryChange, ...]
    waiting: tuple[WaitingService, ...] = ()
    tenants: tuple[TenantChange, ...] = ()
    notes: tuple[str, ...] = ()
