"""Random pools that tenants share by entitlement: two nodes, their uplinks, a Triton server and memory."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from hypothesis import strategies as st

from edge_planning import ClassProfile, Cut, EntryProblem, Exit, Model, Slo, Timing
from edge_planning.choosing.exit_costs import UPLINK_SHARE
from edge_planning.pools import Observed, PoolDemand, PoolNode, PoolPlan, PoolProblem, PoolServer
from edge_planning.pools.contention import Contention, accounts_of
from edge_planning.pools.costed import Costed, Costs
from edge_planning.pools.figures import Figures
from edge_planning.pools.held import Held
from edge_planning.pools.joint import MOVE_COST
from edge_planning.pools.ledgers import Ledger, capacities
from edge_planning.pools.questions import Questions
from edge_planning.sharing import Amount, Quota, ResourceKind, Share, Tenant

MB = 1e6
RUNTIME = 30 * MB
CUTS = (Cut("image", 20_000), Cut("pool1", 8_000), Cut("pool2", 2_000))
NAMES = ("image", "pool1", "pool2", "logits")
SECONDS = dict(zip(pairwise(NAMES), (0.01, 0.01, 0.03), strict=True)) | {("pool1", "early_logits"): 0.005}
EXITS = (Exit("early", "early_logits", 0.8, CUTS[:2]), Exit("full", "logits", 0.95, CUTS))
MODEL = Model("digits", EXITS, memory=dict.fromkeys(SECONDS, 10 * MB))
DEVICE, SERVER = (
    ClassProfile(name, {pair: Timing(seconds * part, seconds * part) for pair, seconds in SECONDS.items()})
    for name, part in (("pi", 1.0), ("gpu", 0.1))
)
KINDS = (ResourceKind.CPU, ResourceKind.UPLINK, ResourceKind.TRITON_TIME)
AMOUNTS = {ResourceKind.CPU: 1.0, ResourceKind.UPLINK: 4e6, ResourceKind.TRITON_TIME: 0.5}
RATES = (0.01, 0.5, 4.0, 12.0, 25.0)


def demand(name: str, node: str, tenant: str, rate: float, latency: float, priority: int = 0) -> PoolDemand:
    """A service whose full model takes 50 ms at its node, or 5 ms on the Triton server."""
    problem = EntryProblem(MODEL, DEVICE, SERVER, 0.001, Slo(latency), node=node, peer="cloud")
    return PoolDemand(
        name, f"{tenant}-1", "sha256:digits", (problem,), rate, priority=priority, belongs_to=tenant
    )


def measured(one: PoolDemand, *, late: bool) -> PoolDemand:
    """The same service without a declared rate, with its requests as measured."""
    return replace(one, rate=0.01, assumed=True, observed=Observed(one.rate, late))


@st.composite
def quotas(draw: st.DrawFn) -> Mapping[ResourceKind, Quota]:
    found: dict[ResourceKind, Quota] = {}
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=2, unique=True)):
        part = draw(st.sampled_from([0.0, 0.1, 0.3, 0.6]))
        found[kind] = Share(part) if draw(st.booleans()) else Amount(part * AMOUNTS[kind])
    return found


@st.composite
def tenants(draw: st.DrawFn, names: str, weights: tuple[float, ...]) -> tuple[Tenant, ...]:
    limited = draw(st.booleans())
    none: st.SearchStrategy[Mapping[ResourceKind, Quota]] = st.just({})
    return tuple(
        Tenant(
            name,
            draw(st.sampled_from(weights)),
            nominal=draw(quotas() if limited else none),
            borrowing_limit=draw(quotas() if limited else none),
            lending_limit=draw(quotas() if limited else none),
            priority_ceiling=draw(st.sampled_from([None, 0])),
        )
        for name in names
    )


@st.composite
def pools(
    draw: st.DrawFn,
    *,
    weights: tuple[float, ...] = (0.0, 1.0, 1.0, 2.0, 4.0),
    elastic: bool = False,
    most: int = 12,
    priorities: tuple[int, ...] = (0, 0, 100),
) -> PoolProblem:
    """Pools in which most services compete. elastic: whether some declare no rate, and are measured."""
    names = "abc"[: draw(st.integers(2, 3))]
    demands = []
    for number in range(draw(st.integers(2, most))):
        one = demand(
            f"s{number}",
            f"edge-{draw(st.sampled_from('ab'))}",
            draw(st.sampled_from(names)),
            draw(st.sampled_from(RATES)),
            draw(st.sampled_from([0.06, 0.2, 2.0])),
            draw(st.sampled_from(priorities)),
        )
        demands.append(measured(one, late=draw(st.booleans())) if elastic and draw(st.booleans()) else one)
    nodes = tuple(
        PoolNode(
            f"edge-{name}",
            "pi",
            cpu=draw(st.sampled_from([0.2, 0.5, 1.0])),
            memory=draw(st.sampled_from([150 * MB, 1000 * MB])),
            uplink=draw(st.sampled_from([0.2e6, 2e6, 50e6])),
        )
        for name in "ab"
    )
    server = PoolServer("cloud", draw(st.sampled_from([40 * MB, 200 * MB])), draw(st.sampled_from([1, 2])))
    shared = draw(tenants(names, weights))
    return PoolProblem(nodes, (server,), tuple(demands), shared, runtime_memory=RUNTIME, entitled=True)


def again(problem: PoolProblem, number: int) -> PoolProblem:
    """The same pool with another node that nothing uses, so that everything is planned again."""
    return replace(problem, nodes=(*problem.nodes, PoolNode(f"spare-{number}", "pi")))


def refused(plan: PoolPlan) -> set[str]:
    """Demands that an empty pool would serve."""
    return {name for name, one in plan.refused.items() if one.infeasible is None}


class Judge:
    """What demands of a plan by entitlement could have instead, with exact uses and with all waits."""

    def __init__(self, plan: PoolPlan) -> None:
        self.plan, problem = plan, plan.problem
        self.capacity = capacities(problem, UPLINK_SHARE)
        self.ledger = Ledger(problem, self.capacity, accounts_of(problem, self.capacity))
        self.uplinks = {one.name: one.uplink for one in problem.nodes}
        memory = {one.name: one.memory for one in problem.nodes}
        self.costs = Costs(Questions(), Figures(), self.uplinks, memory, problem.runtime_memory)
        self.contention = Contention(problem, self.costs, self.capacity)
        for one in problem.demands:
            if one.name in plan.placed:
                self.ledger.add(Held(one, plan.placed[one.name].reservation))

    def lacking_within_entitlement(self) -> list[str]:
        """Returns the demands that lack what their tenants are entitled to, while others borrow it.

        With the name of the candidate, which would be in time beside all others as they are.
        """
        accounts = self.ledger.accounts
        assert accounts is not None
        found = []
        for one in self.plan.problem.demands:
            held = self.ledger.remove(one.name) if one.name in self.plan.placed else None
            for candidate in self._better(one):
                wanted = Held(one, candidate.reserved)
                borrowed = any(
                    accounts.borrows(other.name, resource)
                    for resource in candidate.reserved.resources
                    for other in self.plan.problem.owners
                    if other.name != one.owner
                )
                if borrowed and accounts.entitled(wanted) and self._in_time(one, candidate):
                    found.append(f"{one.name} {candidate.name}")
            if held is not None:
                self.ledger.add(held)
        return found

    def refused_although_they_fit(self) -> list[str]:
        """Returns the refused demands of which a candidate fits beside all others."""
        limits = self.contention.limits
        return [
            one.name
            for one in self.plan.problem.demands
            if one.name in refused(self.plan)
            and any(self.ledger.fits(Held(one, each.reserved), limits) for each in self.costs.costed(one, {}))
        ]

    def _better(self, one: PoolDemand) -> list[Costed]:
        """Returns the candidates that are worth a move."""
        placed, have = self.plan.placed.get(one.name), -1.0
        if placed is None and one.name not in refused(self.plan):
            return []
        if placed is not None and (placed.short is None or placed.short.waiting):
            return []
        if placed is not None:
            route = placed.plan.table.at(self.uplinks[one.node])
            have = route.accuracy if placed.in_time else 0.0
        return [each for each in self.costs.costed(one, {}) if each.worth > max(have + MOVE_COST, 0.0)]

    def _in_time(self, one: PoolDemand, candidate: Costed) -> bool:
        self.ledger.add(Held(one, candidate.reserved))
        waits = self.contention.waits(self.ledger, one.problems[0].slo.percentile)
        self.ledger.remove(one.name)
        late = [each for each in self.costs.costed(one, waits, every=True) if each.name == candidate.name]
        return any(each.worth for each in late)
