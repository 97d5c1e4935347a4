"""Builds a problem from tenants, resources and demands as objects; suited to hundreds of demands."""

from collections.abc import Sequence

import numpy as np

from edge_planning.errors import require
from edge_planning.sharing.arrays import REFUSED
from edge_planning.sharing.joint_choice import SharingProblem, from_arrays
from edge_planning.sharing.values import Demand, SharedResource, Tenant


def sharing_problem(
    tenants: Sequence[Tenant],
    resources: Sequence[SharedResource],
    demands: Sequence[Demand],
    *,
    move_cost: float = 0.005,
    level_slack: float = 0.01,
) -> SharingProblem:
    """Returns the problem of these demands.

    Raises:
        BadValueError: A value is invalid; the message names it.
    """
    tenant_at = {one.name: index for index, one in enumerate(tenants)}
    resource_at = {one.name: index for index, one in enumerate(resources)}
    for demand in demands:
        require(demand.tenant in tenant_at, f"{demand.name}: unknown tenant {demand.tenant}")
        for option in demand.options:
            for name in option.uses:
                require(name in resource_at, f"{demand.name}: unknown resource {name}")
    touched = [
        sorted({resource_at[name] for option in demand.options for name in option.uses}) for demand in demands
    ]
    count = len(demands)
    width = max((len(demand.options) for demand in demands), default=1) or 1
    slots = max((len(row) for row in touched), default=0) or 1
    rows = np.zeros((count, slots), dtype=np.int64)
    uses = np.zeros((count, slots, width))
    value = np.zeros((count, width))
    valid = np.zeros((count, width), dtype=np.bool_)
    for number, demand in enumerate(demands):
        rows[number, : len(touched[number])] = touched[number]
        slot = {row: index for index, row in enumerate(touched[number])}
        for index, option in enumerate(demand.options):
            value[number, index] = option.value
            valid[number, index] = True
            for name, amount in option.uses.items():
                uses[number, slot[resource_at[name]], index] = amount
    return from_arrays(
        tenants=tenants,
        resources=resources,
        tenant=np.array([tenant_at[one.tenant] for one in demands], dtype=np.int64),
        rate=np.array([one.rate for one in demands], dtype=np.float64),
        value=value,
        rows=rows,
        uses=uses,
        priority=np.array([one.priority for one in demands], dtype=np.float64),
        valid=valid,
        current=np.array(
            [REFUSED if one.current is None else one.current for one in demands], dtype=np.int64
        ),
        names=[(one.service, one.node) for one in demands],
        options=[tuple(option.name for option in one.options) for one in demands],
        move_cost=move_cost,
        level_slack=level_slack,
    )
