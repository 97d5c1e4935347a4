"""A token gives sight of the namespaces that the API server allows, for a minute."""

import pytest

from benchmarks.console.served import EVERYTHING, MadeUpRights
from edge_console.errors import UnauthenticatedError
from edge_console.rights import NAMESPACED
from edge_console.viewers import FRESH, INVALID, Kept, Viewers

NAMESPACES = ("assembly", "packing", "yard")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rights() -> MadeUpRights:
    return MadeUpRights({"a": frozenset({"packing"}), "b": frozenset({"yard"})}, cluster=frozenset({"b"}))


def test_a_viewer_sees_the_namespaces_that_reviews_allow(rights: MadeUpRights, clock: Clock) -> None:
    sight = Viewers(rights, clock).sight("a", NAMESPACES)
    assert (sight.user, sorted(sight.namespaces)) == ("user-of-a", ["packing"])
    assert (sight.pools, sight.tenants) == (False, False)


def test_pools_and_tenants_are_seen_by_those_who_may_list_them(rights: MadeUpRights, clock: Clock) -> None:
    sight = Viewers(rights, clock).sight("b", NAMESPACES)
    assert (sorted(sight.namespaces), sight.pools, sight.tenants) == (["yard"], True, True)


def test_a_namespace_is_hidden_if_any_of_its_kinds_cannot_be_listed(clock: Clock) -> None:
    for forbidden in NAMESPACED:
        rights = MadeUpRights({"a": frozenset(NAMESPACES)})
        rights.refused = frozenset({forbidden})
        assert Viewers(rights, clock).sight("a", NAMESPACES).namespaces == frozenset()


def test_verdicts_are_used_for_a_minute_and_then_renewed(rights: MadeUpRights, clock: Clock) -> None:
    viewers = Viewers(rights, clock)
    viewers.sight("a", NAMESPACES)
    asked = len(rights.rights_asked)
    clock.now += FRESH - 0.1
    viewers.sight("a", NAMESPACES)
    assert (rights.tokens_asked, len(rights.rights_asked)) == (["a"], asked)
    rights.namespaces = {"a": frozenset()}
    clock.now += 0.1
    assert viewers.sight("a", NAMESPACES).namespaces == frozenset()
    assert rights.tokens_asked == ["a", "a"]


def test_a_withdrawn_token_is_refused_within_a_minute(rights: MadeUpRights, clock: Clock) -> None:
    viewers = Viewers(rights, clock)
    viewers.sight("a", NAMESPACES)
    rights.namespaces = {}
    clock.now += FRESH
    with pytest.raises(UnauthenticatedError, match="token"):
        viewers.sight("a", NAMESPACES)


def test_a_wrong_token_is_not_reviewed_again_for_ten_seconds(rights: MadeUpRights, clock: Clock) -> None:
    viewers = Viewers(rights, clock)
    for _ in range(3):
        with pytest.raises(UnauthenticatedError):
            viewers.identity("wrong")
    assert rights.tokens_asked == ["wrong"]
    clock.now += INVALID
    with pytest.raises(UnauthenticatedError):
        viewers.identity("wrong")
    assert rights.tokens_asked == ["wrong", "wrong"]


def test_a_viewer_of_everything_costs_no_review_for_each_namespace(
    rights: MadeUpRights, clock: Clock
) -> None:
    names = [f"namespace-{number}" for number in range(1000)]
    sight = Viewers(rights, clock).sight(EVERYTHING, names)
    assert sight.namespaces == frozenset(names)
    assert len(rights.rights_asked) == 6  # three kinds of namespaces, pools and their nodes, Tenants


def test_a_new_namespace_is_reviewed_when_it_appears(rights: MadeUpRights, clock: Clock) -> None:
    viewers = Viewers(rights, clock)
    assert viewers.sight("a", ["yard"]).namespaces == frozenset()
    assert viewers.sight("a", ["yard", "packing"]).namespaces == {"packing"}


def test_the_memory_of_verdicts_is_bounded(clock: Clock) -> None:
    kept = Kept[int, int](3, clock)
    for number in range(5):
        kept.put(number, number, 60.0)
    assert [kept.get(number) for number in range(5)] == [None, None, 2, 3, 4]
    assert len(kept) == 3
