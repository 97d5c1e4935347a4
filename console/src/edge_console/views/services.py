"""The table of services, worst first. Pure."""

from collections.abc import Mapping
from typing import Final, Literal

from edge_api import reasons
from edge_console.fields import Json, condition, key_of, number, seconds, status
from edge_console.seen import Seen
from edge_console.views import history
from edge_operator.cluster import INFERENCE_SERVICES, Object

State = Literal["NotReady", "Missed", "Degraded", "Waiting", "Idle", "Met"]
"""NotReady: too few entry nodes answer. Missed: SLOMet is False. Degraded: some entry nodes do not follow the
plan. Waiting: not served yet. Idle: no requests in the last 5 minutes. Met: the SLO is met.
"""
WORST_FIRST: Final[tuple[State, ...]] = ("NotReady", "Missed", "Degraded", "Waiting", "Idle", "Met")
_KEPT: Final = 20_000
_BURNS: Final = ("5m", "1h", "6h", "28d")


def rows(seen: Seen, known: "Rows | None" = None) -> list[Json]:
    """Returns a row for each service, worst first. known: rows that were made before."""
    made = row if known is None else known.of
    return sorted(map(made, seen.find(INFERENCE_SERVICES)), key=rank)


class Rows:
    """Rows by the version of their service, so that only services that changed are read again.

    All viewers share it, since a row depends on nothing else. It starts over after 20,000 rows.
    """

    def __init__(self) -> None:
        self._rows: dict[str, tuple[str, Json]] = {}

    def of(self, body: Object) -> Json:
        """Returns the row of a service."""
        key, version = key_of(body), str(body["metadata"].get("resourceVersion"))
        known = self._rows.get(key)
        if known is None or known[0] != version:
            if len(self._rows) >= _KEPT:
                self._rows.clear()
            known = self._rows[key] = version, row(body)
        return known[1]


def row(body: Object) -> Json:
    """Returns what the table shows of a service."""
    spec, found = body["spec"], status(body)
    wanted, slo = spec["slo"], found.get("slo") or {}
    windows = {each["window"]: each for each in slo.get("windows") or ()}
    state = state_of(body)
    entries = found.get("entryCounts") or {}
    return {
        "key": key_of(body),
        "namespace": body["metadata"]["namespace"],
        "name": body["metadata"]["name"],
        "pool": spec["devicePool"],
        "state": state,
        **_why(body, state),
        "latency": seconds(wanted["latency"]),
        "percentile": wanted.get("percentile", 95),
        "objective": objective(wanted),
        "attainment": number(slo.get("attainment")),
        "budget": number(slo.get("errorBudgetRemaining")),
        "burn": {span: number((windows.get(span) or {}).get("burnRate")) for span in _BURNS},
        "p95": seconds(slo.get("p95")),
        "exit": found.get("exit"),
        "cut": found.get("cut"),
        "ready": entries.get("ready", 0),
        "entries": entries.get("total", 0),
        "level": found.get("eiLevel"),
        "recent": history.attainments(slo.get("history")),
    }


def objective(slo: Mapping[str, object]) -> float:
    """Returns the share of requests that must be answered in time."""
    given = number(slo.get("objective"))
    return given if given is not None else (number(slo.get("percentile")) or 95.0) / 100


def state_of(body: Object) -> State:
    """Returns the state of a service, by its conditions."""
    ready, met = condition(body, reasons.READY), condition(body, reasons.SLO_MET)
    if not ready or ready["status"] == "Unknown":
        return "Waiting"
    if ready["status"] == "False":
        steps = (reasons.MODEL_READY, reasons.PROFILED, reasons.PLANNED, reasons.PLACED)
        failed = any(condition(body, step).get("status") == "False" for step in steps)
        moving = condition(body, reasons.PROGRESSING).get("status") == "True"
        return "Waiting" if moving and not failed else "NotReady"
    if met.get("status") == "False":
        return "Missed"
    if condition(body, reasons.DEGRADED).get("status") == "True":
        return "Degraded"
    return "Met" if met.get("status") == "True" else "Idle"


def rank(found: Json) -> tuple[int, float, float, str]:
    """Returns what rows are sorted by: state, budget left, burn rate of an hour, name."""
    budget = 1.0 if found["budget"] is None else found["budget"]
    return WORST_FIRST.index(found["state"]), budget, -(found["burn"]["1h"] or 0.0), found["key"]


def _why(body: Object, state: State) -> Json:
    types = {"Missed": reasons.SLO_MET, "Degraded": reasons.DEGRADED}
    if state in ("Met", "Idle"):
        return {"reason": "", "message": ""}
    found = condition(body, types.get(state, reasons.READY))
    return {"reason": found.get("reason") or "", "message": found.get("message") or ""}
