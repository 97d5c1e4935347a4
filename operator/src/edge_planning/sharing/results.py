"""What sharing decides, and why."""

from dataclasses import dataclass, field

from edge_planning.sharing.arrays import Floats, Integers
from edge_planning.sharing.frames import Frame, Proof
from edge_planning.sharing.problems import SharingProblem


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a demand was refused or has less than its best option.

    resource: what binds. price: what a unit of it is worth to the others, in utility. capacity: how much of
    the resource in all would let the demand have `better`, everybody else staying.
    """

    demand: str
    got: str
    better: str
    resource: str
    price: float
    capacity: float
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class Warm:
    """What a later solve can start from: prices, each demand's best score, what holds."""

    frame: Frame
    level_price: Floats
    proof: Proof
    load: Floats
    utility: Floats
    net: float
    floor: float


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """choices [D]: the option of each demand, or REFUSED. refused: indices of demands.

    levels, dominant_shares: per tenant's name. level: the lowest level among tenants that do not have all
    they could have alone. level_bound: no plan without further refusals has a higher one. utility: the total,
    net of moves. bound: no plan that holds the level `floor` has more. gap: (bound - utility) / bound;
    level_gap likewise. prices: utility per unit of each resource. moves: demands that changed.
    certain_refusals: whether it is proven that somebody must be refused (False where nobody is).
    """

    problem: SharingProblem
    choices: Integers
    refused: tuple[int, ...]
    level: float
    level_bound: float
    floor: float
    levels: dict[str, float]
    dominant_shares: dict[str, float]
    utility: float
    bound: float
    prices: dict[str, float]
    moves: int
    certain_refusals: bool = False
    warm: Warm | None = field(default=None, repr=False)

    @property
    def gap(self) -> float:
        return max(self.bound - self.utility, 0.0) / self.bound if self.bound > 0 else 0.0

    @property
    def level_gap(self) -> float:
        low = min(self.level, self.level_bound)
        return max(self.level_bound - low, 0.0) / self.level_bound if self.level_bound > 0 else 0.0
