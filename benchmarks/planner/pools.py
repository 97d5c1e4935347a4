"""Random pools to share: services at entry nodes with realistic contention.

The seeded process: every service has a tenant (Zipf-like sizes, weights of 1, 1 or 1.1), a priority
(50, 100 or 200), a rate (log-normal, median 2 requests/s, sigma 0.6) and a network with four accuracies of
its own; every node has a relative speed. Each service and node has ten candidates: four local exits, the
full network behind an early or a middle cut to either of two Triton servers, with fp32 or int8 (a third exit
too). Each takes CPU time and memory at the node, bits of its uplink, busy time and memory at Triton. A
capacity lies at a share, drawn between 0.3 and 0.8, of the way from the use of all with the candidates that
use least (by the sum of shares of total use) to the use of all with the most accurate ones. All services can
be served, but not all well.
"""

import numpy as np

from edge_planning.sharing import SharedResource, SharingProblem, Tenant, from_arrays

OPTIONS = 10


def pool(
    services: int, nodes: int, seed: int, tenants: int = 8, tightness: tuple[float, float] = (0.3, 0.8)
) -> SharingProblem:
    """Returns a contended pool of services x nodes demands with ten candidates each."""
    rng = np.random.default_rng(seed)
    weight = rng.choice([1.0, 1.0, 1.1], tenants)
    share = 1 / np.arange(1, tenants + 1) ** 0.5
    owner = rng.choice(tenants, services, p=share / share.sum())
    owner[:tenants] = np.arange(min(tenants, services))
    priority = rng.choice([50, 100, 200], services, p=[0.3, 0.5, 0.2])
    rate = rng.lognormal(np.log(2.0), 0.6, (services, nodes))
    accuracy = np.sort(rng.uniform(0.55, 0.97, (services, 4)), axis=1)
    work = rng.lognormal(np.log(0.02), 0.5, (services, 1)) * np.array([0.25, 0.5, 0.75, 1.0])
    speed = rng.uniform(0.6, 1.6, nodes)
    size = rng.lognormal(np.log(4e5), 0.6, services)  # bits of the input
    memory = rng.lognormal(np.log(2e8), 0.5, services)
    exits = np.array([0, 1, 2, 3, 3, 3, 3, 3, 2, 2])
    head = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.35, 0.35, 0.3, 0.3])  # share of the exit's work
    bits = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.6, 0.25, 0.6, 0.25])
    server = np.array([-1, -1, -1, -1, 0, 1, 0, 1, 1, 0])
    lossy = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.01, 0.0, 0.01])
    count = services * nodes
    service, node = np.divmod(np.arange(count), nodes)
    value = np.repeat(accuracy[:, exits] * (1 - lossy), nodes, axis=0)
    value *= rng.uniform(0.93, 1.0, (count, OPTIONS))  # the share of responses in time
    uses = np.zeros((count, 7, OPTIONS))
    each = rate.reshape(-1, 1)
    uses[:, 0] = each * work[service][:, exits] * head / speed[node][:, None]
    uses[:, 1] = memory[service][:, None] * np.maximum(head, 0.05) * (1 + exits) / 4
    uses[:, 2] = each * size[service][:, None] * bits
    rest = each * work[service][:, exits] * (1 - head) / 8 * (server >= 0)
    for triton in range(2):
        uses[:, 3 + 2 * triton] = rest * (server == triton)
        uses[:, 4 + 2 * triton] = memory[service][:, None] * (1 - head) * (server == triton)
    rows = np.empty((count, 7), dtype=np.int64)
    rows[:, :3] = 3 * node[:, None] + np.arange(3)
    rows[:, 3:] = 3 * nodes + np.arange(4)
    names = [f"{kind} of node-{n}" for n in range(nodes) for kind in ("cpu", "memory", "uplink")]
    names += [f"{kind} of triton-{n}" for n in range(2) for kind in ("busy time", "memory")]
    total = _load(rows, uses.mean(axis=2), len(names))
    weighted = (uses / total[rows][:, :, None]).sum(axis=1)
    least, best = weighted.argmin(axis=1), value.argmax(axis=1)
    low, high = (_load(rows, uses[np.arange(count), :, pick], len(names)) for pick in (least, best))
    way = rng.uniform(*tightness, len(names))
    capacity = low + way * np.abs(high - low)
    return from_arrays(
        tenants=[Tenant(f"tenant-{n}", float(weight[n])) for n in range(tenants)],
        resources=[SharedResource(name, float(amount)) for name, amount in zip(names, capacity, strict=True)],
        tenant=owner[service],
        rate=rate.reshape(-1),
        value=value,
        rows=rows,
        uses=uses,
        priority=priority[service],
    )


def _load(rows: np.ndarray, uses: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(rows.ravel(), uses.ravel(), count)
