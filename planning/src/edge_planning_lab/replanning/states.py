"""The state between two observations."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edge_planning.errors import BadValueError, require
from edge_planning_lab.replanning.calibrations import LEVELS, Calibration
from edge_planning_lab.replanning.changepoints import DRIFTS, HAZARDS, Runs, new_runs
from edge_planning_lab.replanning.forecasts import Forecast, forecast
from edge_planning_lab.replanning.habits import Habits

_VERSION = 1
_KINDS: Mapping[str, tuple[type, ...]] = {
    "route": (str, type(None)),
    "rival": (str, type(None)),
    "up": (bool,),
    "silent": (int,),
    "switches": (int,),
    "rtt_spread": (int, float),
    "backoff": (int, float),
}
_OWN = ("runs", "calibration")  # fields that are not plain numbers


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The immutable state of re-planning; times are on the clock of `now`.

    Attributes:
        runs, calibration: The posterior of the bandwidth at time `seen`.
        heard: Time of the last complete transfer.
        route, since: Name of the active route, and since when.
        rival, leading: The route that would be better, and since when.
        up: Whether the link is up.
        silent: Number of consecutive transfers without a reply.
        rtt, rtt_spread: Smoothed round trip and its mean deviation in seconds.
        next_probe: When to probe the link (None: not needed).
        backoff: Delay of the probe after a failure, in seconds.
        probing: Since when a probe is in flight.
        unfit: Since when the table does not fit.
        switches: Number of switches.
    """

    runs: Runs = field(default_factory=new_runs)
    calibration: Calibration = field(default_factory=Calibration)
    seen: float | None = None
    heard: float | None = None
    route: str | None = None
    since: float | None = None
    rival: str | None = None
    leading: float | None = None
    up: bool = True
    silent: int = 0
    rtt: float | None = None
    rtt_spread: float = 0.0
    next_probe: float | None = None
    backoff: float = 0.0
    probing: float | None = None
    unfit: float | None = None
    switches: int = 0

    def forecast(self, now: float) -> Forecast:
        """Returns the forecast of the bandwidth for a transfer that starts now."""
        age = 0.0 if self.seen is None else now - self.seen
        require(age >= 0, f"the time {now} s is before the last observation at {self.seen} s")
        return forecast(self.runs, age, self.calibration)


def as_document(state: State) -> dict[str, Any]:
    """Returns the state as plain numbers and lists, for JSON."""
    plain = {name: getattr(state, name) for name in State.__slots__ if name not in _OWN}
    runs = state.runs
    arrays = {name: getattr(runs, name).tolist() for name in ("weight", "mean", "kappa", "beta", "count")}
    shifts = list(state.calibration.shifts)
    return {
        "version": _VERSION,
        **plain,
        "calibration": shifts,
        "runs": {**arrays, "habits": asdict(runs.habits)},
    }


def from_document(document: Mapping[str, Any]) -> State:
    """Returns the state of a document from `as_document`.

    Raises:
        BadValueError: The document has another version or is not a state.
    """
    version = document.get("version")
    require(version == _VERSION, f"state: version {version} must be {_VERSION}")
    try:
        runs = document["runs"]
        floats = [np.array(runs[name], dtype=np.float64) for name in ("weight", "mean", "kappa", "beta")]
        counts = np.array(runs["count"], dtype=np.int64)
        found = Runs(floats[0], floats[1], floats[2], floats[3], counts, Habits(**runs["habits"]))
        rest = {name: document[name] for name in State.__slots__ if name not in _OWN}
        calibration = Calibration(tuple(float(shift) for shift in document["calibration"]))
        state = State(runs=found, calibration=calibration, **rest)
    except (KeyError, TypeError, ValueError) as error:
        raise BadValueError(f"not a state of re-planning: {error}") from error
    _check(found)
    for name, value in rest.items():
        kinds = _KINDS.get(name, (int, float, type(None)))
        require(isinstance(value, kinds), f"{name} of a state is {value!r}")
    require(len(calibration.shifts) == len(LEVELS), f"{len(calibration.shifts)} shifts of a calibration")
    return state


def _check(runs: Runs) -> None:
    shape = (len(DRIFTS), len(runs.count))
    fits = runs.weight.shape == (len(HAZARDS), *shape)
    fits = fits and all(array.shape == shape for array in (runs.mean, runs.kappa, runs.beta))
    require(fits, f"state: runs have inconsistent shapes {runs.weight.shape} and {runs.mean.shape}")
    require(abs(float(runs.weight.sum()) - 1) < 1e-6, f"the runs' weights sum to {runs.weight.sum()}")
