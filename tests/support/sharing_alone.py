"""Shares a resource where highspy and scipy cannot be imported; prints the number of choices."""

import sys

# Importing them raises ImportError.
sys.modules |= dict.fromkeys(("highspy", "scipy"))  # type: ignore[arg-type]

from edge_planning.pools import plan_pool  # noqa: E402
from edge_planning.sharing import (  # noqa: E402
    Demand,
    Option,
    SharedResource,
    Tenant,
    share,
    sharing_problem,
)

choices = (Option(0.8, {"cpu": 0.3}), Option(0.9, {"cpu": 0.6}))
demands = [Demand(f"s{n}", "edge-a", "shop", choices) for n in range(3)]
problem = sharing_problem([Tenant("shop")], [SharedResource("cpu", 1.25)], demands)
print(len(share(problem).choices))
print(plan_pool.__name__)
