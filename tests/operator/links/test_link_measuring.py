"""One runtime of a node measures a link; the others receive what matters to their tables, and no more."""

import datetime
import functools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_api.told_links import LINKS_ANNOTATION, ToldLink, read_links
from edge_operator.cluster import Object
from edge_operator.nodes.link_measuring import (
    LinkUser,
    Telling,
    measurer,
    renewal,
    renewed_after,
    share,
    tellings,
)
from edge_operator.nodes.runtimes import Runtime

NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
EVERY = 900.0
READY: Callable[[Runtime], bool] = lambda runtime: True  # noqa: E731
PROBE = "http://triton.test:8000/v2/health/live"


def placement(namespace: str, *, created: str = "2026-03-01T10:00:00Z", **changes: Any) -> Object:
    """A Placement at cam-1 that sends to Triton. changes: of its link's status; link=None: without one."""
    link = {"state": "Up", "bandwidth": "20M", "bandwidthLow": "15M", "roundTrip": "10ms"} | changes
    link |= {"measuredAt": "2026-03-01T11:59:50Z"}
    routes = [
        {"minBandwidth": "12M", "stages": [{"runtime": "Triton"}]},
        {"minBandwidth": "0", "stages": [{"runtime": "Edge"}]},
    ]
    return {
        "metadata": {
            "name": "digits.cam-1",
            "namespace": namespace,
            "creationTimestamp": created,
            "annotations": {},
        },
        "spec": {
            "service": "digits",
            "node": "cam-1",
            "link": {"peer": "cloud", "probe": PROBE, "budget": "16Mi"},
            "routes": routes,
        },
        "status": {"link": link, "lastUpdated": "2026-03-01T12:00:00Z"},
    }


def carried_out(found: list[Telling]) -> dict[str, dict[str, ToldLink]]:
    """Writes the annotations; returns what they say by namespace."""
    told = {}
    for each in found:
        annotations = {} if each.text is None else {LINKS_ANNOTATION: each.text}
        each.placement["metadata"]["annotations"] = annotations
        told[each.placement["metadata"]["namespace"]] = read_links(annotations)
    return told


tell = functools.partial(tellings, ready=READY, now=NOW, every=EVERY)


def test_a_runtime_that_alone_uses_a_link_has_no_annotation() -> None:
    assert tell([placement("shop")]) == []


def test_the_oldest_runtime_measures_and_the_others_receive_value_and_age() -> None:
    bodies = [
        placement("shop", created="2026-03-01T11:00:00Z", bandwidth="3M"),
        placement("factory", created="2026-03-01T09:00:00Z"),
        placement("office", created="2026-03-01T10:00:00Z"),
    ]
    told = carried_out(tell(bodies))
    assert told["factory"]["cloud"].measured == "Here"
    for namespace in ("shop", "office"):
        link = told[namespace]["cloud"]
        assert (link.measured, link.state) == ("Elsewhere", "Up")
        assert (link.bandwidth, link.bandwidth_low, link.round_trip) == (20_000_000, 15_000_000, 0.01)
        assert (link.age, link.valid_for, link.budget) == (10.0, 1800.0, 8 << 20)
    assert tell(bodies) == []


def test_services_of_one_namespace_share_their_runtime_and_a_dedicated_one_has_its_own() -> None:
    first, second = placement("shop"), placement("shop")
    second["spec"]["service"] = second["metadata"]["name"] = "faces"
    assert tell([first, second]) == []
    second["spec"]["isolation"] = "Dedicated"
    assert len(tell([first, second])) == 2


def test_a_runtime_measures_by_itself_until_the_other_has_reported() -> None:
    silent = placement("factory", created="2026-03-01T09:00:00Z")
    del silent["status"]
    told = carried_out(tell([silent, placement("shop")]))
    assert told == {"factory": {"cloud": ToldLink(measured="Here", told="2026-03-01T12:00:00Z")}}


def test_servers_of_two_pools_with_one_name_are_two_links() -> None:
    other = placement("shop")
    other["spec"]["link"]["probe"] = "http://elsewhere.test:8000/v2/health/live"
    assert tell([placement("factory"), other]) == []


@pytest.mark.parametrize(
    ("change", "rewritten"),
    [
        ({"bandwidth": "19M"}, False),
        ({"bandwidth": "24M"}, False),
        ({"bandwidth": "26M"}, True),  # more than a quarter
        ({"bandwidth": "16.5M"}, False),
        ({"bandwidth": "14M"}, True),
        ({"state": "Down"}, True),
        ({"roundTrip": "12ms"}, False),
        ({"roundTrip": "40ms"}, True),
        ({"bandwidthLow": "2M"}, False),
    ],
)
def test_only_what_leaves_the_band_is_written_again(change: dict[str, str], rewritten: bool) -> None:
    bodies = [placement("factory", created="2026-03-01T09:00:00Z"), placement("shop")]
    carried_out(tell(bodies))
    bodies[0]["status"]["link"] |= change
    assert [each.placement["metadata"]["namespace"] for each in tell(bodies)] == ["shop"] * rewritten


def test_a_border_of_a_route_is_in_no_band() -> None:
    bodies = [placement("factory", bandwidth="12.5M"), placement("shop")]
    bodies[0]["metadata"]["creationTimestamp"] = "2026-03-01T09:00:00Z"
    carried_out(tell(bodies))
    bodies[0]["status"]["link"]["bandwidth"] = "10.5M"
    assert carried_out(tell(bodies))["shop"]["cloud"].bandwidth == 10_500_000


def test_a_value_is_renewed_before_it_ends() -> None:
    bodies = [placement("factory", created="2026-03-01T09:00:00Z"), placement("shop")]
    carried_out(tell(bodies))
    assert tell(bodies, now=NOW + datetime.timedelta(seconds=EVERY - 1)) == []
    renewed = carried_out(tell(bodies, now=NOW + datetime.timedelta(seconds=EVERY)))
    assert renewed["shop"]["cloud"].told == "2026-03-01T12:15:00Z"


def test_the_measurement_moves_from_a_runtime_that_is_not_ready_and_stays_where_it_moved() -> None:
    bodies = [placement("factory", created="2026-03-01T09:00:00Z"), placement("shop", bandwidth="5M")]
    carried_out(tell(bodies))
    moved = carried_out(tell(bodies, ready=lambda runtime: runtime.namespace == "shop"))
    assert moved["shop"]["cloud"].measured == "Here"
    assert moved["factory"]["cloud"].bandwidth == 5_000_000
    assert tell(bodies) == []


def test_the_last_user_of_a_link_loses_its_annotation() -> None:
    bodies = [placement("factory", created="2026-03-01T09:00:00Z"), placement("shop")]
    carried_out(tell(bodies))
    assert [each.text for each in tell(bodies[1:])] == [None]


def test_an_annotation_that_cannot_be_read_is_replaced() -> None:
    bodies = [placement("factory"), placement("shop")]
    for body in bodies:
        body["metadata"]["annotations"] = {LINKS_ANNOTATION: "{"}
    assert set(carried_out(tell(bodies))) == {"factory", "shop"}


def test_renewals_of_many_placements_are_at_most_ten_a_minute() -> None:
    assert renewal(9) == 900.0
    assert 50_000 / (renewal(50_000) / 60) <= 10


@given(st.integers(0, 1 << 30), st.integers(1, 300))
def test_the_others_probe_no_more_together_than_one_runtime(budget: int, others: int) -> None:
    assert share(budget, others) * others <= budget < (share(budget, others) + 1) * 2 * others


USERS = st.lists(
    st.builds(
        LinkUser,
        runtime=st.builds(Runtime, st.sampled_from("abcdef"), st.just("cam-1")),
        since=st.sampled_from(["2026-03-01T09:00:00Z", "2026-03-01T10:00:00Z"]),
        ready=st.booleans(),
        measuring=st.booleans(),
    ),
    min_size=1,
    unique_by=lambda user: user.runtime,
)


@given(USERS, st.randoms())
def test_the_choice_depends_on_no_order_and_prefers_ready_runtimes(
    users: list[LinkUser], random: Any
) -> None:
    chosen = measurer(users)
    shuffled = random.sample(users, len(users))
    assert measurer(shuffled) == chosen
    by_runtime = {user.runtime: user for user in users}
    assert chosen is not None
    assert by_runtime[chosen].ready or not any(user.ready for user in users)


@given(USERS)
def test_the_choice_stays_while_the_chosen_one_is_ready(users: list[LinkUser]) -> None:
    chosen = measurer(users)
    after = [LinkUser(u.runtime, u.since, u.ready, u.runtime == chosen) for u in users]
    assert measurer(after) == chosen
    fewer = [user for user in after if user.runtime == chosen or not user.ready]
    assert measurer(fewer) == chosen or not any(user.ready for user in fewer if user.runtime == chosen)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(10**5, 10**9)), min_size=1, max_size=6),
    st.sets(st.sampled_from("abcd")),
)
def test_nothing_is_left_to_write_after_one_round(reports: list[tuple[str, int]], ready: set[str]) -> None:
    bodies = []
    for number, (namespace, bandwidth) in enumerate(reports):
        body = placement(namespace, created=f"2026-03-01T0{number}:00:00Z", bandwidth=str(bandwidth))
        body["spec"]["service"] = body["metadata"]["name"] = f"s{number}"
        bodies.append(body)
    run = functools.partial(tell, bodies, ready=lambda runtime: runtime.namespace in ready)
    carried_out(run())
    assert run() == []
    here = [body for body in bodies if "Here" in str(body["metadata"]["annotations"])]
    runtimes = {body["metadata"]["namespace"] for body in bodies}
    assert len({body["metadata"]["namespace"] for body in here}) == (len(runtimes) > 1)


def test_values_are_due_again_when_half_of_their_time_has_passed() -> None:
    bodies = [placement("a"), placement("b")]
    written = tell(bodies)
    assert renewed_after(bodies, written, NOW) == EVERY
    carried_out(written)
    assert renewed_after(bodies, [], NOW + datetime.timedelta(seconds=100)) == EVERY - 100
    assert renewed_after(bodies, [Telling(bodies[1], None)], NOW) is None, "the one that measures keeps none"


def test_values_that_no_report_can_renew_wait_for_one() -> None:
    bodies = [placement("a"), placement("b")]
    carried_out(tell(bodies))
    bodies[0]["status"] = {}
    late = NOW + datetime.timedelta(seconds=EVERY)
    assert tell(bodies, now=late) == []
    assert renewed_after(bodies, [], late) is None
