"""Two replicas never write at once, however long requests for the Lease take and replicas are stopped."""

import contextlib
import copy
import datetime
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_operator.cluster import WRITE, Kind, Object
from edge_operator.errors import ApiUnreachableError, NotLeadingError, WriteConflictError
from edge_operator.leadership import DURATION, PATIENCE, RENEW, RETRY, Leadership

WALL = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class SlowLeases:
    """The Lease of an API server to which requests travel for some time, and responses too.

    travels: seconds to the server and back of the next requests; 0 if it is empty.
    meanwhile: called while the next request is on its way, just before the server carries it out.
    lost: whether responses are lost, after the server has carried the request out.
    """

    clock: Clock
    lease: Object | None = None
    version: int = 0
    travels: list[tuple[float, float]] = field(default_factory=list)
    meanwhile: Callable[[], object] | None = None
    lost: bool = False

    def fetch(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        back = self._arrive()
        found = copy.deepcopy(self.lease)
        return self._answered(found, back)

    def create(self, body: Object) -> Object:
        back = self._arrive()
        if self.lease is not None:
            raise WriteConflictError("it exists")
        return self._stored(body, back)

    def replace(self, body: Object) -> Object:
        back = self._arrive()
        known = body["metadata"]["resourceVersion"]
        if self.lease is None or known != self.lease["metadata"]["resourceVersion"]:
            raise WriteConflictError("it has been modified")
        return self._stored(body, back)

    def _stored(self, body: Object, back: float) -> Object:
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"] |= {"resourceVersion": str(self.version), "uid": "u1"}
        found = self._answered(copy.deepcopy(self.lease), back)
        assert found is not None
        return found

    def _answered(self, found: Object | None, back: float) -> Object | None:
        self.clock.now += back
        if self.lost:
            raise ApiUnreachableError("no response from the API server")
        return found

    def _arrive(self) -> float:
        """Lets a request arrive; returns the seconds that its response takes."""
        there, back = self.travels.pop(0) if self.travels else (0.0, 0.0)
        self.clock.now += there
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile, travels = None, self.travels
            self.travels = []
            with contextlib.suppress(ApiUnreachableError):
                meanwhile()
            self.travels = travels
        return back


def replica(leases: SlowLeases, name: str) -> Leadership:
    return Leadership(leases, "edge-intelligence", name, leases.clock, lambda: WALL, jitter=lambda: 0.0)


def may_write(each: Leadership, seconds: float = WRITE) -> bool:
    try:
        each.check(seconds)
    except NotLeadingError:
        return False
    return True


DELAYS = st.sampled_from([0.0, 0.1, WRITE, DURATION - 0.1, float(DURATION)])
NAMES = st.sampled_from("ab")
STEPS = st.tuples(
    NAMES,
    DELAYS,
    st.sampled_from([0, 0, 0, 1, 2]).flatmap(lambda n: st.lists(st.tuples(DELAYS, DELAYS), max_size=n)),
    st.none() | NAMES,
    st.sampled_from([False, False, False, True]),
)
Step = tuple[str, float, list[tuple[float, float]], str | None, bool]


@settings(max_examples=1000)
@given(st.lists(STEPS, min_size=3, max_size=12), st.sampled_from([0.2, WRITE]))
@example(
    [
        (name, passed, [], None, False)
        for name, passed in (("a", 0.0), ("b", 0.0), ("b", DURATION - 0.1), ("b", 0.1))
    ],
    WRITE,
)
def test_two_replicas_never_may_both_begin_a_write(steps: list[Step], seconds: float) -> None:
    """One whose write began before is done by the time at which another one may begin."""
    leases = SlowLeases(Clock())
    replicas = {name: replica(leases, name) for name in "ab"}
    writing_until = dict.fromkeys("ab", float("-inf"))
    for name, passed, travels, other, lost in steps:
        leases.clock.now += passed
        leases.travels, leases.lost = list(travels), lost
        leases.meanwhile = None if other in (None, name) else replicas[other].campaign
        with contextlib.suppress(ApiUnreachableError):
            replicas[name].campaign()
        now = leases.clock.now
        for each, election in replicas.items():
            if may_write(election, seconds):
                other_until = next(until for of, until in writing_until.items() if of != each)
                assert other_until <= now, "another replica's write can still be under way"
                writing_until[each] = now + seconds


@given(st.floats(0.1, DURATION - 0.1))
def test_a_renewal_while_a_standby_reads_the_lease_counts_from_after_the_read(read_takes: float) -> None:
    """The read returns a version that is newer than its beginning."""
    leases = SlowLeases(Clock())
    holder, standby = replica(leases, "a"), replica(leases, "b")
    assert holder.campaign()
    leases.travels, leases.meanwhile = [(read_takes, 0.0)], holder.campaign
    assert not standby.campaign()
    leases.clock.now += DURATION - 0.01
    assert holder.leads
    assert not standby.campaign()


def test_the_times_fit_together() -> None:
    assert RENEW + WRITE < DURATION, "a write may begin until the next renewal"
    assert RENEW + PATIENCE + PATIENCE < DURATION, "a renewal that hangs leaves time for another"
    assert RETRY + DURATION + PATIENCE <= 15.0, "another replica leads 15 s after the holder was killed"
    assert 2 * RETRY <= 2.0, "and 2 s after it gave the Lease up"


@pytest.mark.parametrize("killed_after", [0.0, RENEW / 2, RENEW])
@pytest.mark.parametrize("polled_after", [0.0, RETRY / 2, RETRY - 0.01])
def test_another_replica_leads_within_12_s_of_a_kill(killed_after: float, polled_after: float) -> None:
    leases = SlowLeases(Clock())
    holder, standby = replica(leases, "a"), replica(leases, "b")
    holder.campaign()
    leases.clock.now += polled_after
    standby.campaign()
    leases.clock.now += killed_after
    killed = leases.clock.now
    while not standby.campaign():
        leases.clock.now += RETRY
    assert leases.clock.now - killed <= DURATION + RETRY


def test_a_lease_that_was_given_up_is_taken_at_the_next_look() -> None:
    leases = SlowLeases(Clock())
    holder, standby = replica(leases, "a"), replica(leases, "b")
    holder.campaign()
    standby.campaign()
    holder.release()
    leases.clock.now += RETRY
    assert standby.campaign()
    assert standby.term is not None
    assert standby.term.number == 1


def test_a_renewal_that_arrives_while_the_lease_is_given_up_delays_nothing() -> None:
    leases = SlowLeases(Clock())
    holder, standby = replica(leases, "a"), replica(leases, "b")
    holder.campaign()
    standby.campaign()
    renewed = copy.deepcopy(leases.lease)
    fetch = leases.fetch

    def fetches(kind: Kind, namespace: str | None, name: str) -> Object | None:
        found = fetch(kind, namespace, name)
        leases.fetch = fetch  # type: ignore[method-assign]
        assert renewed is not None
        leases.replace(renewed)
        return found

    leases.fetch = fetches  # type: ignore[method-assign]
    holder.release()
    assert standby.campaign()


def test_a_replica_that_was_stopped_writes_nothing_when_it_continues() -> None:
    leases = SlowLeases(Clock())
    stopped, standby = replica(leases, "a"), replica(leases, "b")
    stopped.campaign()
    standby.campaign()
    assert may_write(stopped)
    leases.clock.now += DURATION
    assert standby.campaign()
    assert not may_write(stopped, 0.0)
    assert not stopped.campaign()
    assert stopped.seen is not None
    assert (stopped.seen.holder, stopped.seen.transitions) == ("b", 1)


def test_each_process_has_a_term_of_its_own_and_one_of_a_new_lease_follows_none() -> None:
    leases = SlowLeases(Clock())
    first, second = replica(leases, "pod_1"), replica(leases, "pod_2")
    first.campaign()
    leases.clock.now += RENEW
    first.campaign()
    assert first.term == ("u1", 0)
    second.campaign()
    leases.clock.now += DURATION
    second.campaign()
    assert first.term is not None
    assert second.term is not None
    assert first.term.is_before(second.term)
    assert not second.term.is_before(first.term)
    assert not first.term._replace(lease="u0").is_before(second.term)


def test_a_holder_renews_by_one_request() -> None:
    leases = SlowLeases(Clock())
    holder = replica(leases, "a")
    holder.campaign()
    leases.travels = [(0.1, 0.1), (50.0, 50.0)]
    assert holder.campaign()
    assert leases.clock.now == pytest.approx(100.2)


def test_a_lease_that_people_changed_is_read_again() -> None:
    leases = SlowLeases(Clock())
    holder = replica(leases, "a")
    holder.campaign()
    assert leases.lease is not None
    leases.replace(leases.lease | {"metadata": leases.lease["metadata"] | {"labels": {"team": "edge"}}})
    assert holder.campaign()
    assert leases.lease["metadata"]["labels"] == {"team": "edge"}
