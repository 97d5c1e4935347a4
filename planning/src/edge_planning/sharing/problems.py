"""The joint choice as arrays: demands x options, and what each option takes of each resource."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_planning.errors import require
from edge_planning.sharing.arrays import REFUSED, Floats, Integers, Mask
from edge_planning.sharing.values import Resource, Tenant

IMPORTANCE = 200.0


@dataclass(frozen=True, slots=True, eq=False)
class SharingProblem:
    """Exactly one option per demand, or refusal, within the capacities.

    D demands, O options, K resources that a demand may use (different ones, but for those without use).

    tenant [D]: index in tenants. value [D, O]: accuracy of answers in time. valid [D, O]: which exist.
    rows [D, K]: the resources that a demand's options may use. uses [D, K, O]: how much of them.
    worth [D, O]: importance x rate x value, the utility of an option (0 where not valid). current [D]: the
    option that serves now, or REFUSED. move_cost: what a move costs, in accuracy (times importance and rate).
    level_slack: the share of the best level that may be given up for accuracy, or for not moving.
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

    def __len__(self) -> int:
        return len(self.tenant)

    @property
    def importance(self) -> Floats:
        """[D]: (100 + priority) / 200, 1 for the default priority."""
        return np.asarray((100.0 + self.priority) / IMPORTANCE, dtype=np.float64)

    @property
    def net(self) -> Floats:
        """[D, O]: worth less what the move to the option costs."""
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
        return name or f"option {option}"

    def with_capacities(self, capacities: Mapping[str, float]) -> "SharingProblem":
        """The same demands with other capacities of some resources; checks only these."""
        where = {name: index for index, name in enumerate(self.resources)}
        capacity = self.capacity.copy()
        for name, amount in capacities.items():
            require(name in where, f"resource {name} is not known")
            capacity[where[name]] = Resource(name, amount).capacity
        return replace(self, capacity=capacity)

    def with_current(self, choices: Integers) -> "SharingProblem":
        """The same problem when these choices serve now."""
        current = np.asarray(choices, dtype=np.int64)
        require(current.shape == self.current.shape, f"{current.shape} choices for {len(self)} demands")
        good = (current >= REFUSED) & (current < self.worth.shape[1])
        require(bool(good.all()), f"choices {current[~good].tolist()} do not exist")
        return replace(self, current=current)

    def of(self, demands: Integers) -> "SharingProblem":
        """The problem of some demands, with all resources."""
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
    resources: Sequence[Resource],
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
) -> SharingProblem:
    """A problem from arrays (shapes as in SharingProblem).

    Raises:
        BadValueError: names the value that makes no sense.
    """
    _unique("tenant", [one.name for one in tenants])
    _unique("resource", [one.name for one in resources])
    require(len(resources) > 0, "the pool is empty: there is no resource")
    require(len(tenants) > 0, "there is no tenant")
    require(value.ndim == 2, f"value has the shape {value.shape}, not [D, O]")
    count, width = value.shape
    require(rows.ndim == 2 and len(rows) == count, f"rows has the shape {rows.shape}, not [D, K]")
    slots = rows.shape[1]
    require(uses.shape == (count, slots, width), f"uses has the shape {uses.shape}, not [D, K, O]")
    priority = np.full(count, 100, dtype=np.int64) if priority is None else priority
    valid = np.full(value.shape, True) if valid is None else valid
    current = np.full(count, REFUSED, dtype=np.int64) if current is None else current
    named = None if names is None else tuple(names)
    columns = (("tenant", tenant), ("rate", rate), ("priority", priority), ("current", current))
    for what, column in columns:
        require(column.shape == (count,), f"{what} has the shape {column.shape}, not ({count},)")
    require(valid.shape == value.shape, f"valid has the shape {valid.shape}, not {value.shape}")
    for what, entries in (("names", names), ("options", options)):
        require(entries is None or len(entries) == count, f"{what} are not those of {count} demands")

    def check(good: npt.ArrayLike, what: str) -> None:
        good = np.asarray(good)
        if not good.all():
            demand = int(np.flatnonzero(~good)[0])
            name = f"demand {demand}" if named is None else "@".join(named[demand])
            require(False, f"{name}: {what}")

    if named is not None:
        _unique("demand", ["@".join(one) for one in named])
    check((tenant >= 0) & (tenant < len(tenants)), "its tenant is not known")
    check(((rows >= 0) & (rows < len(resources))).all(axis=1), "a resource is not known")
    check(np.isfinite(rate) & (rate > 0), "its rate is not a number above 0")
    check(np.isfinite(priority) & (priority >= 0), "its priority is negative or not a number")
    check(valid.any(axis=1), "it has no option")
    check((~valid | (np.isfinite(value) & (value >= 0))).all(axis=1), "a value is negative or not a number")
    fine = np.isfinite(uses) & (uses >= 0)
    if not fine.all():
        check((fine | ~valid[:, None, :]).all(axis=(1, 2)), "a use is negative or not a number")
        uses = np.where(valid[:, None, :], uses, 0.0)
    used: Mask = np.asarray((uses > 0).any(axis=2))
    for slot in range(1, slots):
        twice: Mask = (rows[:, :slot] == rows[:, slot, None]) & used[:, :slot] & used[:, slot, None]
        check(~twice.any(axis=1), "a resource is there twice")
    check((current >= REFUSED) & (current < width), "its current option does not exist")
    held = np.take_along_axis(valid, np.maximum(current, 0)[:, None], axis=1)[:, 0]
    check(held | (current == REFUSED), "its current option does not exist")
    require(np.isfinite(move_cost) and move_cost >= 0, f"move_cost {move_cost} is negative or not a number")
    require(0 <= level_slack < 1, f"level_slack {level_slack} is not between 0 and 1")
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
    )


def _unique(what: str, names: list[str]) -> None:
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for name in names:
        require(name not in seen, f"{what} {name} is there twice")
        seen.add(name)
