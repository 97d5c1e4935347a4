"""Planned latencies beside measured ones. Pure."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Final

WITHIN: Final = 0.25
"""Largest difference of a planned latency from the measured one, as a share of the latter."""
_HEAD, _TAIL = "head", "tail"
Parts = Mapping[str, float]


def compared(rounds: Sequence[Mapping[str, Any]], planned: Callable[[float], Parts]) -> dict[str, Any]:
    """Returns what the rounds of requests of one shape took and what the plan says of them.

    rounds: `seconds` of the responses, `bandwidth` in bit/s and `parts`, the mean seconds by the counters of
    the runtime and Triton. planned: the parts of the latency in seconds at a bandwidth, and their `total`.

    Each round is compared with the plan at its own bandwidth. `error` is the median of their relative
    differences, and None if the route did not respond. `errorBesidesCompute` is the same with the measured
    time of inference in place of the profiled one: other programs on the machine changed that since.
    """
    used = [each for each in rounds if each["seconds"]]
    if not used:
        return {"predicted": None, "measured": None, "error": None, "errorBesidesCompute": None, "parts": {}}
    measured = [median(each["seconds"]) for each in used]
    plans = [dict(planned(each["bandwidth"])) for each in used]
    there = [_with_compute(plan, each["parts"]) for plan, each in zip(plans, used, strict=True)]
    return {
        "predicted": median(plan["total"] for plan in plans),
        "measured": median(measured),
        "error": _error([plan["total"] for plan in plans], measured),
        "errorBesidesCompute": _error(there, measured),
        "bandwidth": median(each["bandwidth"] for each in used),
        "parts": {"predicted": _medians(plans), "measured": _medians([each["parts"] for each in used])},
    }


def near(row: Mapping[str, Any]) -> bool:
    """Whether a row's planned latency is close to the measured one."""
    return row["error"] is not None and abs(row["error"]) <= WITHIN


def _error(planned: Sequence[float], measured: Sequence[float]) -> float:
    return median(plan / real - 1 for plan, real in zip(planned, measured, strict=True))


def _with_compute(plan: Parts, parts: Parts) -> float:
    """Returns the total with the time of inference as measured; the plan's margin is for that time."""
    head = parts.get("stage", plan[_HEAD])
    tail = parts.get("triton", plan[_TAIL])
    return plan["total"] - plan[_HEAD] - plan[_TAIL] - plan["margin"] + head + tail


def _medians(found: Sequence[Parts]) -> dict[str, float]:
    names = dict.fromkeys(name for each in found for name in each)
    return {name: median(each[name] for each in found if name in each) for name in names}
