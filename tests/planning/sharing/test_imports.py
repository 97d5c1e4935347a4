"""The fast solver needs numpy alone."""

import subprocess
import sys

SCRIPT = """
import sys
sys.modules |= dict.fromkeys(("highspy", "scipy"))  # importing them raises ImportError
from edge_planning.pools import plan_pool
from edge_planning import sharing
from edge_planning.sharing import Demand, SharedResource, Tenant, share, share_exactly, sharing_problem
choices = tuple(sharing.Option(*each) for each in ((0.8, {"cpu": 0.3}), (0.9, {"cpu": 0.6})))
demands = [Demand(f"s{n}", "edge-a", "shop", choices) for n in range(3)]
problem = sharing_problem([Tenant("shop")], [SharedResource("cpu", 1.25)], demands)
print(len(share(problem).choices))
try:
    share_exactly(problem)
except ImportError as error:
    print(error.name)
"""


def test_sharing_and_its_fast_solver_work_without_highspy_and_scipy() -> None:
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["3", "highspy"]
