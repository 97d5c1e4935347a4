"""What a look at Triton servers changes: for services, and for what is known of the servers."""

from edge_operator.loops.pool_servers import Look
from edge_operator.loops.servers import Servers

HERE, THERE = "http://triton:8000", "http://away:8000"
BOTH, KEPT = frozenset({"kept", "lost"}), frozenset({"kept"})


class Observed:
    """No server left a pool, and none was checked."""

    observed: tuple[frozenset[str], dict[str, bool]] = frozenset(), {}


def looked(servers: Servers, **models: frozenset[str] | None) -> frozenset[str]:
    addresses = {"here": HERE, "there": THERE}
    return servers.looked(Look({addresses[name]: found for name, found in models.items()}, frozenset()))


def test_a_server_that_lost_a_tail_leaves_or_returns_wakes_its_services_once() -> None:
    servers = Servers(Observed(), lambda: 0.0)
    assert looked(servers, here=BOTH, there=BOTH) == frozenset()
    servers.loaded_at(HERE, BOTH)
    servers.loaded_at(THERE, KEPT)
    assert looked(servers, here=BOTH, there=BOTH) == frozenset()
    assert looked(servers, here=KEPT, there=None) == {HERE, THERE}
    assert looked(servers, here=KEPT, there=None) == frozenset(), "what stays away wakes no service again"
    assert looked(servers, here=KEPT, there=BOTH) == {THERE}


def test_only_tails_that_are_still_there_count_as_loaded() -> None:
    servers = Servers(Observed(), lambda: 0.0)
    servers.loaded_at(HERE, BOTH)
    looked(servers, here=KEPT | {"foreign"})
    assert servers.loaded[HERE] == KEPT
    looked(servers, here=None)
    assert servers.loaded[HERE] == frozenset()


def test_the_http_and_the_https_address_of_a_server_are_one_server() -> None:
    servers = Servers(Observed(), lambda: 0.0)
    servers.loaded_at(HERE.replace("http://", "https://"), BOTH)
    assert looked(servers, here=KEPT) == {"https://triton:8000"}
