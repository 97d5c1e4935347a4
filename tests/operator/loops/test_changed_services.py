"""What wakes a pool's loop is counted from its first change, and a service is planned once for its slices."""

from edge_api.tensors import Slice
from edge_operator.keys import ServiceKey, SliceKey
from edge_operator.loops.changed_services import ChangedServices
from edge_operator.loops.known_facts import KnownFacts
from edge_operator.pool.facts import Fact, LayersOf, SliceOf

ONE, OTHER = ServiceKey("shop", "one"), ServiceKey("shop", "other")
DIGEST = "sha256:" + "ab" * 32


def slice_of(output: str) -> SliceOf:
    return SliceOf("shop", SliceKey(DIGEST, ("image",), (output,)))


def test_a_service_waits_from_its_first_change_until_it_is_taken() -> None:
    times, waited = iter([1.0, 2.0, 3.0, 5.0, 6.0]), list[float]()
    changed = ChangedServices(lambda: next(times))
    changed.update([ONE, OTHER])
    changed.add(ONE)
    assert changed.take(waited.append) == {ONE, OTHER}
    assert waited == [4.0, 3.0]
    assert changed.take(waited.append) == set()


def test_a_service_is_planned_once_for_all_its_slices() -> None:
    facts = KnownFacts(lambda _need: None)
    head, tail = slice_of("pool1"), slice_of("logits")
    facts.use(ONE, frozenset(), frozenset({head, tail}))
    facts.use(OTHER, frozenset(), frozenset({head}))
    found = Fact(Slice.model_validate({"digest": DIGEST, "size": 1, **described()}))
    facts.met(head, found)
    assert facts.woken_by(head) == [OTHER]
    facts.met(tail, found)
    assert facts.woken_by(tail) == [ONE]


def test_other_needs_wake_their_service_at_once() -> None:
    facts = KnownFacts(lambda _need: None)
    layers = LayersOf("shop", DIGEST)
    facts.use(ONE, frozenset(), frozenset({layers, slice_of("pool1")}))
    facts.met(layers, Fact())
    assert facts.woken_by(layers) == [ONE]


def described() -> dict[str, object]:
    tensor = {"name": "image", "datatype": "FP32", "shape": [-1, 4]}
    return {"inputs": [tensor], "outputs": [tensor]}
