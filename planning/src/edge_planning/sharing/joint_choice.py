"""The joint choice as arrays: demands x candidates, and the use of each resource by each candidate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_planning.errors import require
from edge_planning.sharing.arrays import REFUSED, Floats, Integers, Mask
from edge_planning.sharing.quotas import ResourceKind
from edge_planning.sharing.values import SharedResource, Tenant

IMPORTANCE = 200.0


@dataclass(frozen=True, slots=True, eq=False)
class SharingProblem:
    """Exactly one candidate per demand, or refusal, within the capacities.

    D demands, O candidates, K resources that a demand can use (distinct, except unused slots).

    Attributes:
        tenant: Index in tenants [D].
        value: Accuracy of responses in time [D, O].
        valid: Whether the candidate exists [D, O].
        rows: Resources that a demand's candidates can use [D, K].
        uses: Amounts of these resources [D, K, O].
        worth: importance x rate x value, the utility of a candidate; 0 if not valid [D, O].
        current: The candidate in use, or REFUSED [D].
        move_cost: Cost of a move, in accuracy (times importance and rate).
        level_slack: Share of the best level that can be given up for accuracy or to avoid moves.
        kinds: Kind of each resource [R].
        measured: What requests of each tenant take beside its demands, if there is enough; not lent as far as
            the tenant is entitled to it. None: nothing [T, R].
    """

    tenants: tuple[Tenant, ...]
    resources: tuple[str, ...]
    capacity: Floats
    tenant: Integers
    priority: Integers
    rate: Floats
    value: Floats
    valid: Mask
    rows: Integers
    uses: Floats
    current: Integers
    worth: Floats
    names: tuple[tuple[str, str], ...] | None = None
    options: tuple[tuple[str, ...], ...] | None = None
    move_cost: float = 0.005
    level_slack: float = 0.01
    kinds: tuple[ResourceKind | None, ...] = ()
    measured: Floats | None = None

    def __len__(self) -> int:
        return len(self.tenant)

    @property
    def importance(self) -> Floats:
        """(100 + priority) / 200; 1 for the default priority [D]."""
        return np.asarray((100.0 + self.priority) / IMPORTANCE, dtype=np.float64)

    @property
    def net(self) -> Floats:
        """Worth minus the cost of the move to the candidate [D, O]."""
        cost = self.move_cost * self.importance * self.rate * (self.current != REFUSED)
        if not cost.any():
            return self.worth
        moved = np.arange(self.worth.shape[1])[None, :] != self.current[:, None]
        return np.asarray(self.worth - cost[:, None] * moved)

    def demand_name(self, demand: int) -> str:
        return f"demand {demand}" if self.names is None else "@".join(self.names[demand])

    def option_name(self, demand: int, option: int) -> str:
        if option == REFUSED:
            return "refused"
        name = "" if self.options is None else self.options[demand][option]
        return name or f"candidate {option}"

    def with_capacities(self, capacities: Mapping[str, float]) -> "SharingProblem":
        """Returns the problem with other capacities of some resources; validates only these."""
        where = {name: index for index, name in enumerate(self.resources)}
        capacity = self.capacity.copy()
        for name, amount in capacities.items():
            require(name in where, f"unknown resource {name}")
            capacity[where[name]] = SharedResource(name, amount).capacity
        return replace(self, capacity=capacity)

    def with_current(self, choices: Integers) -> "SharingProblem":
        """Returns the problem with these choices as the current candidates."""
        current = np.asarray(choices, dtype=np.int64)
        require(current.shape == self.current.shape, f"{current.shape} choices for {len(self)} demands")
        good = (current >= REFUSED) & (current < self.worth.shape[1])
        require(bool(good.all()), f"choices {current[~good].tolist()} do not exist")
        return replace(self, current=current)

    def of(self, demands: Integers) -> "SharingProblem":
        """Returns the problem of some demands, with all resources."""
        keep = demands.tolist()
        return replace(
            self,
            **{
                name: getattr(self, name)[demands]
                for name in (
                    "tenant",
                    "priority",
                    "rate",
                    "value",
                    "valid",
                    "rows",
                    "uses",
                    "current",
                    "worth",
                )
            },
            names=None if self.names is None else tuple(self.names[n] for n in keep),
            options=None if self.options is None else tuple(self.options[n] for n in keep),
        )


def from_arrays(
    *,
    tenants: Sequence[Tenant],
    resources: Sequence[SharedResource],
    tenant: Integers,
    rate: Floats,
    value: Floats,
    rows: Integers,
    uses: Floats,
    priority: Integers | Floats | None = None,
    valid: Mask | None = None,
    current: Integers | None = None,
    names: Sequence[tuple[str, str]] | None = None,
    options: Sequence[tuple[str, ...]] | None = None,
    move_cost: float = 0.005,
    level_slack: float = 0.01,
    measured: Floats | None = None,
) -> SharingProblem:
    """Returns a problem from arrays (shapes as in SharingProblem).

    Raises:
        BadValueError: A value is invalid; the message names it.
    """
    _unique("tenant", [one.name for one in tenants])
    _unique("resource", [one.name for one in resources])
    require(len(resources) > 0, "resources: the list is empty")
    require(len(tenants) > 0, "tenants: the list is empty")
    require(value.ndim == 2, f"value: shape {value.shape} must be [D, O]")
    count, width = value.shape
    require(rows.ndim == 2 and len(rows) == count, f"rows: shape {rows.shape} must be [D, K]")
    slots = rows.shape[1]
    require(uses.shape == (count, slots, width), f"uses: shape {uses.shape} must be [D, K, O]")
    priority = np.full(count, 100, dtype=np.int64) if priority is None else priority
    valid = np.full(value.shape, True) if valid is None else valid
    current = np.full(count, REFUSED, dtype=np.int64) if current is None else current
    named = None if names is None else tuple(names)
    columns = (("tenant", tenant), ("rate", rate), ("priority", priority), ("current", current))
    for what, column in columns:
        require(column.shape == (count,), f"{what}: shape {column.shape} must be ({count},)")
    require(valid.shape == value.shape, f"valid: shape {valid.shape} must be {value.shape}")
    for what, entries in (("names", names), ("options", options)):
        require(
            entries is None or len(entries) == count,
            f"{what}: one entry for each of {count} demands is required",
        )

    def check(good: npt.ArrayLike, what: str) -> None:
        good = np.asarray(good)
        if not good.all():
            demand = int(np.flatnonzero(~good)[0])
            name = f"demand {demand}" if named is None else "@".join(named[demand])
            require(False, f"{name}: {what}")

    if named is not None:
        _unique("demand", ["@".join(one) for one in named])
    check((tenant >= 0) & (tenant < len(tenants)), "unknown tenant")
    check(((rows >= 0) & (rows < len(resources))).all(axis=1), "unknown resource")
    check(np.isfinite(rate) & (rate > 0), "rate must be finite and > 0")
    check(np.isfinite(priority) & (priority >= 0), "priority must be finite and >= 0")
    check(valid.any(axis=1), "no candidate")
    check((~valid | (np.isfinite(value) & (value >= 0))).all(axis=1), "value must be finite and >= 0")
    fine = np.isfinite(uses) & (uses >= 0)
    if not fine.all():
        check((fine | ~valid[:, None, :]).all(axis=(1, 2)), "use must be finite and >= 0")
        uses = np.where(valid[:, None, :], uses, 0.0)
    used: Mask = np.asarray((uses > 0).any(axis=2))
    for slot in range(1, slots):
        twice: Mask = (rows[:, :slot] == rows[:, slot, None]) & used[:, :slot] & used[:, slot, None]
        check(~twice.any(axis=1), "a resource is listed twice")
    check((current >= REFUSED) & (current < width), "the current candidate does not exist")
    held = np.take_along_axis(valid, np.maximum(current, 0)[:, None], axis=1)[:, 0]
    check(held | (current == REFUSED), "the current candidate does not exist")
    require(np.isfinite(move_cost) and move_cost >= 0, f"move_cost {move_cost} must be finite and >= 0")
    require(0 <= level_slack < 1, f"level_slack {level_slack} must be >= 0 and < 1")
    if measured is not None:
        shape = len(tenants), len(resources)
        require(measured.shape == shape, f"measured: shape {measured.shape} must be {shape}")
        require(bool((np.isfinite(measured) & (measured >= 0)).all()), "measured must be finite and >= 0")
    importance = (100.0 + priority) / IMPORTANCE
    worth = np.where(valid, value, 0.0) * (importance * rate)[:, None]
    return SharingProblem(
        tenants=tuple(tenants),
        resources=tuple(one.name for one in resources),
        capacity=np.array([one.capacity for one in resources], dtype=np.float64),
        tenant=tenant.astype(np.int64),
        priority=priority.astype(np.int64),
        rate=rate.astype(np.float64),
        value=value,
        valid=valid,
        rows=rows.astype(np.int64),
        uses=uses,
        current=current.astype(np.int64),
        worth=worth,
        names=named,
        options=None if options is None else tuple(options),
        move_cost=move_cost,
        level_slack=level_slack,
        kinds=tuple(one.kind for one in resources),
        measured=measured,
    )


def _unique(what: str, names: list[str]) -> None:
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for name in names:
        require(name not in seen, f"{what} {name} is listed twice")
        seen.add(name)
