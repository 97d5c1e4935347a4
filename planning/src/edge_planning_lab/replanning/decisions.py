"""The decisions of re-planning, and its settings."""

from dataclasses import dataclass

from edge_planning.errors import require


@dataclass(frozen=True, slots=True)
class Stay:
    """The route stays; `reason` says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Switch:
    """Another route of the table becomes active: its index and name, and the reason."""

    index: int
    route: str
    reason: str


@dataclass(frozen=True, slots=True)
class Replan:
    """The table no longer fits; `reason` says why. Its routes stay in use until there is a new one."""

    reason: str


Decision = Stay | Switch | Replan


@dataclass(frozen=True, slots=True)
class SwitchingSettings:
    """Settings of route switching; times in seconds.

    Attributes:
        price: Cost of a missed deadline in addition to the lost response, in units of accuracy.
        objective: Share of responses in time that a route must reach to be preferred; see choices.
        least_gain: Minimum gain of expected utility for a switch.
        dwell: Minimum time between two switches, except urgent ones.
        safe: An active route with a lower probability to be in time is left immediately for a better one.
        first_probe, last_probe: First and maximum delay of probes of a link that is down; it doubles after
            each failure.
        idle_probe: Time without transfers after which an unused link is probed.
        probe_timeout: Time after which a probe is given up.
        patience: Time for which the table must not have fitted before a new one is requested.
        silence: Number of consecutive transfers without a reply after which the link counts as down.
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
            require(value > 0, f"settings: {name} {value} s must be > 0")
        for name in ("price", "dwell", "patience", "least_gain"):
            value = getattr(self, name)
            require(value >= 0, f"settings: {name} {value} must be >= 0")
        require(0 <= self.safe <= 1, f"settings: safe {self.safe} must be between 0 and 1")
        require(self.silence >= 1, f"settings: silence {self.silence} must be >= 1")
        require(
            self.objective is None or 0 < self.objective <= 1,
            f"settings: objective {self.objective} must be > 0 and <= 1",
        )
