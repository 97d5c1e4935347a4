from dataclasses import dataclass, field

from demo.errors import LoadFailed
from demo.phase_runner import StartedPhase, assembled, play
from demo.phases import LINK_RATES_BPS, SETTLE_SECONDS, planned
from demo.reports import ModeResult
from demo.statistics import LinkSample, RequestResult

BROKEN = "the client at edge-a ended with 1: no memory"


@dataclass
class Rehearsal:
    """Clients, clock and link: a request a second; time passes only while they are read."""

    breaks_at: float = float("inf")
    now: float = 100.0
    rates: list[float | None] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def start(self) -> None:
        self.asked.append("start")

    def take(self, seconds: float) -> list[RequestResult | LinkSample]:
        before, self.now = self.now, self.now + seconds
        if self.now > self.breaks_at:
            raise LoadFailed(BROKEN)
        if int(before) == int(self.now):
            return []
        return [self.result(int(self.now) - 0.5), LinkSample("edge-a", int(self.now) - 0.5, 1e6)]

    def stop(self) -> list[RequestResult | LinkSample]:
        self.asked.append("stop")
        return [self.result(self.now - 0.1)]

    def result(self, sent: float) -> RequestResult:
        return RequestResult("edge-a", sent, 0.1, True, "exit5", "pool1")

    def set_links(self, bps: float | None) -> None:
        self.rates.append(bps)

    def play(self) -> ModeResult:
        return play("Auto", planned(3.0), self, self.set_links, lambda result: None, self.clock)


def test_the_link_is_set_phase_by_phase_and_released_at_the_end() -> None:
    rehearsal = Rehearsal()
    rehearsal.play()
    assert rehearsal.rates == [*LINK_RATES_BPS, None]


def test_every_response_is_in_the_phase_in_which_it_was_sent() -> None:
    result = Rehearsal().play()
    assert [len(phase.results) for phase in result.phases] == [*[3] * (len(LINK_RATES_BPS) - 1), 4]
    for phase in result.phases[1:]:
        assert all(phase.began <= result.sent < phase.began + 3.0 for result in phase.results)


def test_answers_that_come_after_the_last_phase_are_waited_for() -> None:
    rehearsal = Rehearsal()
    result = rehearsal.play()
    assert rehearsal.asked == ["start", "stop"]
    assert max(result.sent for result in result.results) == rehearsal.now - 0.1


def test_the_bandwidth_counts_only_once_the_phase_has_settled() -> None:
    result = Rehearsal().play()
    for phase in result.phases:
        assert all(sample.at - phase.began >= SETTLE_SECONDS for sample in phase.link)
    assert len(result.link) > sum(len(phase.link) for phase in result.phases) > 0


def test_a_client_that_ends_is_an_error_of_the_mode_that_keeps_what_was_measured() -> None:
    rehearsal = Rehearsal(breaks_at=107.0)
    result = rehearsal.play()
    assert result.error == BROKEN
    assert len(result.phases) == 3
    assert len(result.results) == 7
    assert rehearsal.rates[-1] is None


def test_a_request_sent_just_before_the_first_phase_was_noted_is_not_dropped() -> None:
    (first, *_) = planned(3.0)
    result = assembled("Auto", [StartedPhase(first, 10.0)], [RequestResult("edge-a", 9.999, 0.1)])
    assert len(result.phases[0].results) == 1
