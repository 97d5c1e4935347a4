"""Whether the services at a node are worse off with a new version of its runtime. Pure.

A version that was applied to a node is watched there: the requests of each service are counted from the
time when its pod serves, for a window of WINDOW seconds, or of two intervals of reports if that is longer. A
service is worse off if the misses of its SLO exceed, by two standard deviations, both what its objective
allows and what it missed before, or if its runtime has lost its table. A second window follows then, since a
runtime that has just started is slower. Errors of requests count at once. Where a service has a few
requests only, the window is twice as long.

All of it is kept in annotations of the Deployment, from which an operator that restarts continues. It costs
three writes for each node and version, and the former version of the pod in each Deployment, of about 4 KB.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import sqrt
from typing import Any, Final, Literal

from pydantic import ValidationError

from edge_api import Placement, reasons
from edge_api.earlier import in_this_version
from edge_operator.cluster import Object
from edge_operator.names import (
    APPLIED_ANNOTATION,
    CPU_WEIGHT_ANNOTATION,
    FORMER_VERSION_ANNOTATION,
    VERSION_ANNOTATION,
)

WINDOW: Final = 20.0
"""Seconds for which requests are counted before the version is judged by them."""
REPORTS: Final = 2.0
"""Intervals of reports that a window lasts at least."""
QUIET: Final = 2.0
"""Windows after which a version is kept at a node where a service has few requests, not JUDGED_FROM."""
WINDOWS: Final = 2
"""Windows in a row in which a service must be worse off."""
JUDGED_FROM: Final = 20
"""Requests in a window from which a service is judged."""
FAILURES: Final = 3
"""Errors of requests from which a version is returned from, if they are more than FAILED of the requests."""
FAILED: Final = 0.01
_SURE: Final = 2.0
"""Standard deviations by which misses must exceed what is expected."""

Phase = Literal["Replacing", "Watched", "Kept", "Returning"]


@dataclass(frozen=True, slots=True)
class Counted:
    """The requests of a service at a node since its Placement exists. loaded: whether it has its table."""

    requests: int = 0
    met: int = 0
    failed: int = 0
    loaded: bool = True

    def since(self, before: "Counted") -> "Counted":
        """Returns what was counted after `before`; all of it if the Placement is a new one."""
        if self.requests < before.requests:
            return self
        return Counted(
            self.requests - before.requests, self.met - before.met, self.failed - before.failed, self.loaded
        )


@dataclass(frozen=True, slots=True)
class Served:
    """A service at a node.

    allowed: share of the requests that can miss the SLO. interval: of reports, in seconds.
    """

    counted: Counted
    allowed: float
    interval: float
    latency: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a version was returned from."""

    version: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known of the version of a runtime.

    Attributes:
        version: Of its pod; empty for one of a time before versions were recorded.
        phase: Replacing: its pod does not serve yet. Watched: its requests are counted. Kept: it is as good
            as the one before. Returning: it is worse, and the former version is applied in its place.
        since: Second of Unix time at which the window began.
        before: The services' counters when the version was applied.
        start: Those at the beginning of the window.
        worse: Windows in a row in which a service was worse off.
        fault: The version that was returned from.
    """

    version: str
    phase: Phase = "Kept"
    since: float = 0.0
    before: Mapping[str, Counted] = field(default_factory=dict)
    start: Mapping[str, Counted] = field(default_factory=dict)
    worse: int = 0
    fault: Fault | None = None

    @property
    def pending(self) -> bool:
        """Whether the version is not judged yet."""
        return self.phase in ("Replacing", "Watched")


def begun(version: str, services: Mapping[str, Served]) -> Watch:
    """Returns the watch of a version that is applied now."""
    return Watch(version, "Replacing", before={name: each.counted for name, each in services.items()})


def looked(watch: Watch, node: str, services: Mapping[str, Served], now: float, *, serving: bool) -> Watch:
    """Returns the next state of a watch at second `now` of Unix time.

    services: those at the node, by name; one that has come since the version was applied is not judged.
    serving: whether the pod of the version is ready, and the only one.
    """
    if watch.phase == "Replacing" and serving:
        return _window(watch, services, now)
    if watch.phase != "Watched":
        return watch
    services = {name: each for name, each in services.items() if name in watch.before}
    more = {n: s.counted.since(watch.start.get(n, Counted())) for n, s in services.items()}
    for name, found in sorted(more.items()):
        before = watch.before[name]
        expected = max(FAILED, before.failed / before.requests if before.requests else 0.0)
        if found.failed >= FAILURES and found.failed > expected * found.requests:
            said = f"{found.failed} of {found.requests} requests ended with an error"
            return _returning(watch, reasons.RUNTIMES_FAIL, f"{node}: {name}: {said}")
    length = max([WINDOW, *(REPORTS * each.interval for each in services.values())])
    elapsed = now - watch.since
    if elapsed < length:
        return watch
    worse = _worse(watch, services, more)
    if worse and watch.worse + 1 >= WINDOWS:
        return _returning(watch, reasons.RUNTIMES_MISS_SLO, f"{node}: {worse}")
    if worse:
        return replace(_window(watch, services, now), worse=watch.worse + 1)
    few = any(0 < found.requests < JUDGED_FROM for found in more.values())
    if few and elapsed < QUIET * length:
        return watch
    return Watch(watch.version, "Kept", fault=watch.fault)


def _window(watch: Watch, services: Mapping[str, Served], now: float) -> Watch:
    start = {name: each.counted for name, each in services.items()}
    return replace(watch, phase="Watched", since=round(now, 1), start=start)


def _returning(watch: Watch, reason: str, message: str) -> Watch:
    return Watch(watch.version, "Returning", fault=Fault(watch.version, reason, message[:500]))


def _worse(watch: Watch, services: Mapping[str, Served], more: Mapping[str, Counted]) -> str:
    """Returns which service is worse off; empty if none is."""
    for name, found in sorted(more.items()):
        before, served = watch.before[name], services[name]
        if before.loaded and not found.loaded:
            return f"{name}: its table is not loaded any more"
        missed, share = found.requests - found.met, served.allowed
        if before.requests >= JUDGED_FROM:
            share = max(share, 1 - before.met / before.requests)
        expected = found.requests * share
        if found.requests >= JUDGED_FROM and missed > expected + _SURE * sqrt(expected):
            said = f"{missed} of {found.requests} requests missed {served.latency}"
            return f"{name}: {said}; expected are at most {share:.1%}"
    return ""


def served(placements: Iterable[Object]) -> dict[str, Served]:
    """Returns the services by name. placements: of a runtime; those that cannot be read are left out."""
    found = {}
    for body in placements:
        try:
            placement = Placement.model_validate(in_this_version(body))
        except ValidationError:
            continue
        status, slo = placement.status, placement.spec.slo
        if status is None:
            counted = Counted(loaded=False)
        else:
            counted = Counted(status.requests, status.met, status.failed, status.loaded)
        interval = float(placement.spec.report_interval)
        found[placement.spec.service] = Served(counted, 1 - slo.objective_share, interval, str(slo.latency))
    return found


def read(deployment: Object) -> Watch | None:
    """Returns the watch in a Deployment; None for one without, or that is not as written."""
    text = (deployment["metadata"].get("annotations") or {}).get(VERSION_ANNOTATION)
    if text is None:
        return None
    try:
        found: dict[str, Any] = json.loads(text)
        for name in ("before", "start"):
            found[name] = {service: Counted(*each) for service, each in found.get(name, {}).items()}
        fault = found.pop("fault", None)
        return Watch(**found, fault=Fault(**fault) if fault else None)
    except (ValueError, TypeError, AttributeError):
        return None


def note(watch: Watch) -> dict[str, str]:
    """Returns the annotation of a Deployment with a watch."""
    fields: dict[str, object] = {"version": watch.version, "phase": watch.phase}
    fields |= {"since": watch.since} if watch.since else {}
    fields |= {"worse": watch.worse} if watch.worse else {}
    for name in ("before", "start"):
        counts: Mapping[str, Counted] = getattr(watch, name)
        if counts:
            fields[name] = {s: [c.requests, c.met, c.failed, c.loaded] for s, c in sorted(counts.items())}
    fields |= {"fault": asdict(watch.fault)} if watch.fault is not None else {}
    return {VERSION_ANNOTATION: json.dumps(fields)}


def applied(
    live: Object, watch: Watch | None, version: str, services: Mapping[str, Served]
) -> dict[str, str]:
    """Returns the annotations of a Deployment that gets another version now. watch: of the one that it has.

    A version that was not judged yet is not returned to. The one before that is as good as it was.
    """
    if watch is None or not watch.pending:
        before = watch.version if watch is not None else ""
        return note(begun(version, services)) | former_note(live, before)
    known = former(live)
    last = read(known) if known is not None else None
    same = last is not None and last.version == version
    return note(Watch(version) if same else begun(version, services)) | kept_former(live)


def with_notes(body: Object, *notes: Mapping[str, str]) -> Object:
    """Returns a Deployment with further annotations."""
    metadata = body["metadata"]
    annotations = dict(metadata.get("annotations") or {})
    for each in notes:
        annotations |= each
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def former_note(live: Object, version: str) -> dict[str, str]:
    """Returns the annotation with the version that a Deployment has now. version: its name."""
    former = {"version": version, "annotations": _of_template(live), "template": live["spec"]["template"]}
    return {FORMER_VERSION_ANNOTATION: json.dumps(former)}


def kept_former(live: Object) -> dict[str, str]:
    """Returns the same annotation as it is in a Deployment."""
    text = (live["metadata"].get("annotations") or {}).get(FORMER_VERSION_ANNOTATION)
    return {} if text is None else {FORMER_VERSION_ANNOTATION: text}


def former(live: Object) -> Object | None:
    """Returns the former version of a Deployment, as far as it is of the version; None if it is not known."""
    text = kept_former(live).get(FORMER_VERSION_ANNOTATION)
    try:
        found = json.loads(text or "")
        annotations = {**found["annotations"], **note(Watch(found["version"]))}
        return {"metadata": {"annotations": annotations}, "spec": {"template": {**found["template"]}}}
    except (KeyError, ValueError, TypeError):
        return None


def returned(live: Object, wanted: Object, fault: Fault) -> Object | None:
    """Returns a Deployment with the former version of its pod; None if that is not known.

    wanted: the Deployment of the version that is returned from.
    """
    before = former(live)
    watch = read(before) if before is not None else None
    if before is None or watch is None:
        return None
    notes = before["metadata"]["annotations"] | note(replace(watch, fault=fault))
    return _with_template(wanted, before["spec"]["template"], notes)


def held(live: Object, wanted: Object, watch: Watch | None) -> Object:
    """Returns a Deployment that keeps its version, with the strategy of another one."""
    own = note(watch) if watch is not None else {}
    return _with_template(wanted, live["spec"]["template"], _of_template(live) | own | kept_former(live))


def _with_template(wanted: Object, template: Object, annotations: Mapping[str, str]) -> Object:
    metadata = {**wanted["metadata"], "annotations": dict(annotations)}
    return {**wanted, "metadata": metadata, "spec": {**wanted["spec"], "template": template}}


def _of_template(live: Object) -> dict[str, str]:
    """Returns the annotations of a Deployment that belong to its template."""
    annotations = live["metadata"].get("annotations") or {}
    return {n: annotations[n] for n in (APPLIED_ANNOTATION, CPU_WEIGHT_ANNOTATION) if n in annotations}


def faults(watches: Iterable[Watch]) -> dict[str, Fault]:
    """Returns the versions that were returned from at a node, with why."""
    return {each.fault.version: each.fault for each in watches if each.fault is not None}


def finding(fault: Fault | None) -> tuple[str, str]:
    """Returns the reason and the message for services at a node that does not have the new version yet."""
    if fault is not None:
        return fault.reason, f"{fault.message}; the former version of the runtimes serves"
    said = "a new version of the runtimes goes from node to node while services there meet their SLOs"
    return reasons.RUNTIMES_ROLLING_OUT, said
