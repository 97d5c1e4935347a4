"""Names of objects are valid, fit their limits, and differ where services or nodes differ."""

import hashlib
import re

from hypothesis import assume, example, given
from hypothesis import strategies as st

from edge_api.names import (
    dedicated_service_name,
    label_value,
    placement_name,
    runtime_service_name,
)

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
SUBDOMAIN = re.compile(rf"{LABEL.pattern}(\.{LABEL.pattern})*")

services = st.from_regex(r"[a-c]([a-c-]{0,40}[a-c])?", fullmatch=True)
short_nodes = st.from_regex(r"[a-c]([a-c.-]{0,8}[a-c])?", fullmatch=True)
long_nodes = st.from_regex(r"[ab]([ab.-]{0,251}[ab])?", fullmatch=True)
nodes = (short_nodes | long_nodes).filter(lambda name: bool(SUBDOMAIN.fullmatch(name)))


@given(services, nodes, services, nodes)
@example("a", "b-c", "a-b", "c")
@example("a", "b.c", "a", "b-c")
def test_placements_of_different_services_or_nodes_have_different_names(
    service: str, node: str, other: str, elsewhere: str
) -> None:
    assume((service, node) != (other, elsewhere))
    assert placement_name(service, node) != placement_name(other, elsewhere)


@given(services, nodes)
def test_a_placements_name_is_valid_and_begins_with_the_service(service: str, node: str) -> None:
    name = placement_name(service, node)
    assert SUBDOMAIN.fullmatch(name)
    assert len(name) <= 253
    assert name.partition(".")[0] == service


def test_an_ordinary_placement_is_named_by_service_and_node() -> None:
    assert placement_name("digits", "edge-a.example.org") == "digits.edge-a.example.org"


def test_a_placements_shortened_name_is_longer_than_any_name_that_is_kept() -> None:
    shortened = placement_name("a", "n" * 253)
    assert len(shortened) == 253
    node = shortened.partition(".")[2]
    assert placement_name("a", node) != shortened
    assert SUBDOMAIN.fullmatch(placement_name("a", "b" * 239 + ".c" * 7))


@given(nodes, nodes)
@example("a.b", "a-b")
@example("a" * 60, "a" * 61)
def test_runtimes_at_different_nodes_have_different_services(node: str, other: str) -> None:
    assume(node != other)
    assert runtime_service_name(node) != runtime_service_name(other)


@given(nodes)
def test_the_service_of_a_runtime_is_one_dns_label(node: str) -> None:
    name = runtime_service_name(node)
    assert LABEL.fullmatch(name)
    assert len(name) <= 63


def test_a_node_that_is_named_like_a_shortened_name_does_not_take_it() -> None:
    digest = hashlib.sha256(b"a.b").hexdigest()[:10]
    assert runtime_service_name("a.b") == f"edge-runtime-a-b-{digest}"
    assert runtime_service_name(f"a-b-{digest}") != f"edge-runtime-a-b-{digest}"


@given(st.text(alphabet="ab-.", min_size=1, max_size=253), st.text(alphabet="ab-.", min_size=1, max_size=253))
def test_label_values_fit_and_long_ones_differ(text: str, other: str) -> None:
    assert len(label_value(text)) <= 63
    if text != other:
        assert label_value(text) != label_value(other)


@given(services, nodes, services, nodes)
@example("a", "b-c", "a-b", "c")
@example("a", "b.c", "a", "b-c")
def test_dedicated_runtimes_have_names_of_their_own(
    service: str, node: str, other: str, elsewhere: str
) -> None:
    name = dedicated_service_name(service, node)
    assert LABEL.fullmatch(name)
    assert len(name) <= 63
    assert name not in (runtime_service_name(node), runtime_service_name(f"{service}.{node}"))
    assume((service, node) != (other, elsewhere))
    assert name != dedicated_service_name(other, elsewhere)
