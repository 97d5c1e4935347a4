"""What the models of a Triton server change: for services, and for what is known of the server."""

from edge_operator.loops.server_findings import ServerFindings

HERE, THERE = "http://triton:8000", "http://away:8000"
BOTH, KEPT = frozenset({"kept", "lost"}), frozenset({"kept"})


def responded(findings: ServerFindings, **models: frozenset[str] | None) -> set[str]:
    addresses = {"here": HERE, "there": THERE}
    return set().union(*(findings.responded(addresses[name], found) for name, found in models.items()))


def test_a_server_that_lost_a_tail_leaves_or_returns_wakes_its_services_once() -> None:
    findings = ServerFindings(lambda: 0.0)
    assert responded(findings, here=BOTH, there=BOTH) == set()
    findings.loaded_at(HERE, BOTH)
    findings.loaded_at(THERE, KEPT)
    assert responded(findings, here=BOTH, there=BOTH) == set()
    assert responded(findings, here=KEPT, there=None) == {HERE, THERE}
    assert responded(findings, here=KEPT, there=None) == set(), "what stays away wakes no service again"
    assert responded(findings, here=KEPT, there=BOTH) == {THERE}


def test_only_tails_that_are_still_there_count_as_loaded() -> None:
    findings = ServerFindings(lambda: 0.0)
    findings.loaded_at(HERE, BOTH)
    responded(findings, here=KEPT | {"foreign"})
    assert findings.loaded[HERE] == KEPT
    responded(findings, here=None)
    assert findings.loaded[HERE] == frozenset()


def test_the_http_and_the_https_address_of_a_server_are_one_server() -> None:
    findings = ServerFindings(lambda: 0.0)
    findings.loaded_at(HERE.replace("http://", "https://"), BOTH)
    assert responded(findings, here=KEPT) == {"https://triton:8000"}
