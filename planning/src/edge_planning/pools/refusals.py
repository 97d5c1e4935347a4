"""Why a demand does not fit into a pool, and what would make room."""

from edge_planning.plans import Infeasible
from edge_planning.pools.ledgers import Ledger
from edge_planning.pools.reservations import Kind, Reservation, Resource
from edge_planning.pools.results import Refusal
from edge_planning.pools.values import PoolDemand

_UNITS = {Kind.CPU: "of its time", Kind.MEMORY: "bytes", Kind.UPLINK: "bit/s", Kind.BUSY: "busy requests"}
_SHOWN = 3


def unfit(demand: PoolDemand, reserved: Reservation, ledger: Ledger) -> Refusal:
    """Returns the refusal of a demand whose smallest table would reserve this."""
    resource = ledger.binding(reserved)
    if resource is None:
        return _too_late(demand, reserved, ledger)
    asked = ledger.asked(resource, reserved)
    left = max(ledger.capacity[resource] - ledger.used(resource), 0.0)
    users = ledger.users(resource)
    unit = _UNITS[resource.kind]
    message = f"{demand.name}: {resource} is full: {asked:.4g} {unit} asked, {left:.4g} left"
    message += f", used by {_listed(users)}" if users else ""
    remedy = f"{asked - left:.4g} more {unit} at {resource.place}"
    if users:
        remedy += f", or as much less used by {_listed(users)}"
    if resource.kind is not Kind.MEMORY:
        remedy += f", or a rate of at most {demand.rate * left / asked:.3g} requests/s"
    return Refusal(f"{message}; room would come from {remedy}", resource, asked, left, users, remedy)


def never(demand: PoolDemand, answer: Infeasible) -> Refusal:
    """Returns the refusal of a demand that an empty pool could not serve either."""
    return Refusal(f"{demand.name}: {'; '.join(answer.reasons)}", infeasible=answer)


def _too_late(demand: PoolDemand, reserved: Reservation, ledger: Ledger) -> Refusal:
    place = ledger.late(reserved) or demand.node
    kind = Kind.BUSY if place in ledger.servers else Kind.CPU
    resource = Resource(kind, place)
    users = ledger.users(resource)
    asked = reserved.uses.get(resource, 0.0)
    left = max(ledger.capacity[resource] - ledger.used(resource), 0.0)
    message = (
        f"{demand.name}: its requests at {place} would make those of {_listed(users)} late: {asked:.4g} "
        f"{_UNITS[kind]} asked, {left:.4g} left"
    )
    remedy = f"a lower rate, or a longer spec.slo.latency of {_listed(users)}"
    return Refusal(f"{message}; room would come from {remedy}", resource, asked, left, users, remedy)


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
