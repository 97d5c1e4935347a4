"""What an observation leads to."""

from dataclasses import dataclass

from edge_planning.errors import require


@dataclass(frozen=True, slots=True)
class Stay:
    """Nothing changes, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Switch:
    """Another route of the table takes over: its index and name, and why."""

    index: int
    route: str
    reason: str


@dataclass(frozen=True, slots=True)
class Replan:
    """The table itself no longer fits, and why. Until there is a new one its routes go on."""

    reason: str


Decision = Stay | Switch | Replan


@dataclass(frozen=True, slots=True)
class Settings:
    """How readily routes are changed.

    price: what a missed deadline costs beside its answer, in units of accuracy. objective: see `prospects`.
    least_gain: the expected utility that a switch must bring. dwell: seconds between two switches, but for
    those that cannot wait. safe: a present route that is less likely to be in time than this is left at once
    for one that is more likely. first_probe, last_probe: seconds until the link is probed when it is down or
    not in use; doubled from one to the other as long as nothing comes back. patience: seconds for which the
    table must have been unfit before a new one is asked for. silence: how many transfers in a row without a
    reply make a link count as down.
    """

    price: float = 0.5
    objective: float | None = None
    least_gain: float = 0.01
    dwell: float = 2.0
    safe: float = 0.9
    first_probe: float = 0.25
    last_probe: float = 1.0
    idle_probe: float = 2.0
    probe_timeout: float = 5.0
    patience: float = 30.0
    silence: int = 2

    def __post_init__(self) -> None:
        for name in ("first_probe", "last_probe", "idle_probe", "probe_timeout"):
            value = getattr(self, name)
            require(value > 0, f"settings: {name} {value} s is not a time above 0")
        for name in ("price", "dwell", "patience", "least_gain"):
            value = getattr(self, name)
            require(value >= 0, f"settings: {name} {value} is negative or not a number")
        require(0 <= self.safe <= 1, f"settings: safe {self.safe} is not between 0 and 1")
        require(self.silence >= 1, f"{self.silence} silent transfers")
        require(self.objective is None or 0 < self.objective <= 1, f"objective {self.objective}")
