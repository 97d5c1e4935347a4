"""Derives a decision from an observation."""

import math
from dataclasses import replace

from edge_planning.errors import require
from edge_planning.plans import RouteTable
from edge_planning_lab.replanning.changepoints import aged, censored, updated
from edge_planning_lab.replanning.choices import Prospects, prospects
from edge_planning_lab.replanning.decisions import Decision, Replan, Stay, Switch, SwitchingSettings
from edge_planning_lab.replanning.observations import (
    BandwidthSample,
    LinkDown,
    NoReply,
    Observation,
    ProbeSent,
    RoundTrip,
)
from edge_planning_lab.replanning.routes import Routes, routes_of_table
from edge_planning_lab.replanning.states import State

LEAST_BANDWIDTH = 1e3  # bit/s; lower samples count as this value
DEFAULT = SwitchingSettings()


def replan(
    plan: RouteTable | Routes,
    observation: Observation,
    state: State,
    now: float,
    settings: SwitchingSettings = DEFAULT,
    alternatives: Routes | None = None,
) -> tuple[Decision, State]:
    """Returns the decision after an observation at time `now` (seconds), and the new state.

    With `alternatives`, every candidate of the service, the table's loss under the current forecast is
    checked too.
    """
    routes = plan if isinstance(plan, Routes) else routes_of_table(plan)
    state = observed(state, observation, now, settings)
    seen = state.forecast(now) if state.up else None
    delay = max(state.rtt - routes.rtt, 0.0) if state.rtt is not None and routes.rtt is not None else 0.0
    found = prospects(routes, seen, price=settings.price, objective=settings.objective, delay=delay)
    decision, state = _decided(routes, found, state, now, settings)
    state = _probing(routes, state, now, settings)
    if isinstance(decision, Switch):
        return decision, replace(state, unfit=None)
    reason = _misfit(routes, found, state, delay, settings, alternatives)
    if reason is None:
        return decision, replace(state, unfit=None)
    if state.unfit is None:
        return decision, replace(state, unfit=now)
    if now - state.unfit < settings.patience:
        return decision, state
    return Replan(f"{reason}, for {now - state.unfit:.0f} s"), replace(state, unfit=now)


def observed(
    state: State, observation: Observation, now: float, settings: SwitchingSettings = DEFAULT
) -> State:
    """Returns the state after an observation, without a decision."""
    match observation:
        case BandwidthSample(bandwidth, error, limited):
            runs = aged(state.runs, _gap(state, now))
            value = math.log(max(bandwidth, LEAST_BANDWIDTH))
            if limited:
                runs = censored(runs, value, below=False)
            else:
                state = replace(state, calibration=state.calibration.after(runs.below(value)))
                runs = updated(runs, value, error * error)
            return replace(
                state, runs=runs, seen=now, heard=now, up=True, silent=0, probing=None, backoff=0.0
            )
        case NoReply(bits, seconds):
            value = math.log(max(bits / seconds, LEAST_BANDWIDTH))
            runs = censored(aged(state.runs, _gap(state, now)), value, below=True)
            silent = state.silent + 1
            up = state.up and silent < settings.silence
            return _waiting(replace(state, runs=runs, seen=now, up=up, silent=silent), now, settings)
        case LinkDown():
            return _waiting(replace(state, up=False), now, settings)
        case RoundTrip(seconds):
            return replace(_timed(state, seconds), up=True, silent=0, probing=None)
        case ProbeSent():
            return replace(state, probing=now, next_probe=None)
    return state


def _gap(state: State, now: float) -> float:
    require(math.isfinite(now), f"now {now} s is not a time")
    return 0.0 if state.seen is None else now - state.seen


def _timed(state: State, seconds: float) -> State:
    """Updates the smoothed round trip and its deviation as in TCP (RFC 6298, section 2)."""
    if state.rtt is None:
        return replace(state, rtt=seconds, rtt_spread=seconds / 2)
    spread = 0.75 * state.rtt_spread + 0.25 * abs(state.rtt - seconds)
    return replace(state, rtt=0.875 * state.rtt + 0.125 * seconds, rtt_spread=spread)


def _waiting(state: State, now: float, settings: SwitchingSettings) -> State:
    """Schedules the next probe after a failure, with exponential backoff."""
    backoff = min(max(2 * state.backoff, settings.first_probe), settings.last_probe)
    return replace(state, probing=None, backoff=backoff, next_probe=now + backoff)


def _probing(routes: Routes, state: State, now: float, settings: SwitchingSettings) -> State:
    """Schedules probes: at most one in flight, and on a working link only while it is unused."""
    if state.probing is not None:
        if now - state.probing < settings.probe_timeout:
            return state
        return _waiting(state, now, settings)
    if not state.up:
        return state
    remote = state.route is not None and bool(routes.bits[routes.names.index(state.route)] > 0)
    if remote or not (routes.bits > 0).any():
        return replace(state, next_probe=None)
    return replace(state, next_probe=(now if state.heard is None else state.heard) + settings.idle_probe)


def _decided(
    routes: Routes, found: Prospects, state: State, now: float, settings: SwitchingSettings
) -> tuple[Decision, State]:
    best, name = found.best, routes.names[found.best]
    if state.route not in routes.names:
        return _switch(routes, found, state, now, f"first choice: {_told(routes, found, best)}")
    present = routes.names.index(state.route or "")
    if present == best:
        return Stay(f"{name} is the best route: {_told(routes, found, best)}"), _led(state, None, now)
    if not state.up and routes.bits[present] > 0 and routes.bits[best] == 0:
        return _switch(routes, found, state, now, f"the link is down; {name} does not need it")
    compared = f"{_told(routes, found, best)}, against {_told(routes, found, present)}"
    gain = float(found.utility[best] - found.utility[present])
    if found.answered[present] < settings.safe and found.answered[best] > found.answered[present]:
        return _switch(routes, found, state, now, f"{state.route} is no longer safe: {compared}")
    if gain < settings.least_gain:
        reason = f"{name} would gain {gain:.3f}, less than {settings.least_gain:g}: {compared}"
        return Stay(reason), _led(state, None, now)
    state = _led(state, name, now)
    spent = now - max(state.since or 0.0, state.leading or 0.0)
    if spent < settings.dwell:
        return Stay(f"{name} would gain {gain:.3f}, in {settings.dwell - spent:.2g} s: {compared}"), state
    return _switch(routes, found, state, now, f"{name} gains {gain:.3f}: {compared}")


def _led(state: State, rival: str | None, now: float) -> State:
    """Records which other route is ahead, and since when."""
    if rival == state.rival:
        return state
    return replace(state, rival=rival, leading=None if rival is None else now)


def _switch(routes: Routes, found: Prospects, state: State, now: float, reason: str) -> tuple[Switch, State]:
    name = routes.names[found.best]
    switches = state.switches + (state.route is not None)
    after = replace(_led(state, None, now), route=name, since=now, switches=switches)
    return Switch(found.best, name, reason), after


def _told(routes: Routes, found: Prospects, index: int) -> str:
    on_time, accuracy = found.on_time[index], found.accuracy[index]
    return f"{routes.names[index]} in time with P = {on_time:.3f}, expected accuracy {accuracy:.3f}"


def _misfit(
    routes: Routes,
    found: Prospects,
    state: State,
    delay: float,
    settings: SwitchingSettings,
    alternatives: Routes | None,
) -> str | None:
    """Returns why a new table would be better, or None."""
    if state.rtt is not None and routes.rtt is not None:
        change = abs(state.rtt - routes.rtt)
        if change > max(0.1 * routes.deadline, 2 * state.rtt_spread):
            return f"the round trip is {state.rtt * 1e3:.3g} ms, the plan assumes {routes.rtt * 1e3:.3g} ms"
    if alternatives is not None and state.up and state.seen is not None:
        every = prospects(alternatives, state.forecast(state.seen), price=settings.price, delay=delay)
        loss = float(every.utility[every.best] - found.utility[found.best])
        if loss > max(2 * settings.least_gain, 0.02):
            name = alternatives.names[every.best]
            return f"the table loses {loss:.3f} of utility against {name}, a route that it lacks"
    if state.up and state.seen is not None and float(found.on_time[found.best]) < 0.5:
        return f"no route meets the deadline with P >= 0.5: the best has P = {found.on_time[found.best]:.3f}"
    return None
