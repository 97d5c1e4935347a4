"""The phases of the second act, with clients whose time passes only while they are read."""

from dataclasses import dataclass, field
from functools import partial

from demo.errors import LoadFailed
from demo.sharing.phase_runner import play
from demo.sharing.phases import FACTOR, planned
from demo.sharing.results import SharingResult
from demo.statistics import LinkSample, RequestResult
from messages import mentions
from sharing_results import LISTED, TERMS

BROKEN = "the client at edge-b ended with 1: no memory"


@dataclass
class Clock:
    now: float = 100.0


@dataclass
class Clients:
    """Sends a request whenever it is read; `said` has the commands with their times."""

    clock: Clock
    breaks_at: float = float("inf")
    said: list[tuple[str, float]] = field(default_factory=list)

    def start(self) -> None:
        self.said.append(("start", self.clock.now))

    def set_rate(self, rate: float) -> None:
        self.said.append((f"rate {rate:g}", self.clock.now))

    def take(self, seconds: float) -> list[RequestResult | LinkSample]:
        before, self.clock.now = self.clock.now, self.clock.now + seconds
        if self.clock.now > self.breaks_at:
            raise LoadFailed(BROKEN)
        return [self.result(before)]

    def stop(self) -> list[RequestResult | LinkSample]:
        self.said.append(("stop", self.clock.now))
        return [self.result(self.clock.now), LinkSample("edge-b", self.clock.now, None)]

    def result(self, sent: float) -> RequestResult:
        return RequestResult("edge-b", sent, 0.1, True, "exit3", "local")


@dataclass
class Rehearsal:
    clock: Clock = field(default_factory=Clock)
    breaks_at: float = float("inf")
    shown: list[SharingResult] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    listed_at: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clients = {name: Clients(self.clock, self.breaks_at) for name in TERMS.tenants}

    def listed(self) -> str:
        self.listed_at.append(self.clock.now)
        return LISTED

    def play(self) -> SharingResult:
        phases = planned(8.0)
        now = partial(getattr, self.clock, "now")
        return play(TERMS, phases, self.clients, self.listed, self.shown.append, self.said.append, clock=now)


def test_only_the_noisy_tenant_sends_more_and_only_in_its_phase() -> None:
    rehearsal = Rehearsal()
    rehearsal.play()
    commands = {name: [command for command, _ in each.said] for name, each in rehearsal.clients.items()}
    assert commands["quiet"] == ["start", "stop"]
    rates = [f"rate {factor * TERMS.rate:g}" for factor in (1, FACTOR, 1)]
    assert commands["noisy"] == ["start", *rates, "stop"]


def test_every_request_is_in_the_phase_in_which_it_was_sent() -> None:
    result = Rehearsal().play()
    for phase, after in zip(result.phases, result.phases[1:], strict=False):
        for results in phase.results.values():
            assert all(each.sent < after.began for each in results)
    assert sum(len(result.results(name)) for name in TERMS.tenants) > 20
    assert all(phase.results[name] for phase in result.phases for name in TERMS.tenants)


def test_the_tenants_are_listed_while_the_noisy_one_still_sends_too_much() -> None:
    rehearsal = Rehearsal()
    result = rehearsal.play()
    (at,) = rehearsal.listed_at
    raised, lowered = (when for command, when in rehearsal.clients["noisy"].said[2:4])
    assert raised + 8.0 <= at <= lowered
    assert result.listed == LISTED


def test_a_client_that_ends_is_an_error_of_a_result_that_keeps_what_was_measured() -> None:
    result = Rehearsal(breaks_at=106.0).play()
    assert result.error == BROKEN
    assert [phase.phase.name for phase in result.phases] == ["before", "10x"]
    assert result.results("quiet")


def test_every_phase_is_said_with_the_noisy_tenants_rate() -> None:
    rehearsal = Rehearsal()
    rehearsal.play()
    rates = [str(round(factor * TERMS.rate)) for factor in (1, FACTOR, 1)]
    for line, name, rate in zip(rehearsal.said, ("before", "10x", "after"), rates, strict=True):
        assert mentions(name, "noisy", f"{rate} requests/s").search(line)


def test_the_result_is_shown_while_it_grows() -> None:
    rehearsal = Rehearsal()
    result = rehearsal.play()
    assert len(rehearsal.shown) > 10
    assert rehearsal.shown[-1] == result
