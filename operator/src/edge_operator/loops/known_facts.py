"""The facts that a pool's plans use, until the model store turns out to have lost what they tell of.

Cost: memory for what the newest plans use. A loss takes time proportional to the facts of the pool.
"""

from collections import defaultdict
from collections.abc import Callable, Collection
from types import MappingProxyType

from edge_api import reasons
from edge_api.tensors import Slice
from edge_operator.effects import needs
from edge_operator.effects.executor import FAILED
from edge_operator.keys import ServiceKey
from edge_operator.names import model_label
from edge_operator.pool.facts import CardOf, Fact, Facts, LayersOf, Need, SliceOf
from edge_operator.store_answers import ModelCard


class KnownFacts:
    """Facts by the need that they meet, and the services that use them."""

    def __init__(self, mended: Callable[[Need[object]], None]) -> None:
        """mended: called with a need that is to be met at once, although it just could not be."""
        self._mended = mended
        self._facts: dict[Need[object], Fact] = {}
        self._planned_from: Facts = {}
        """Facts of the plan that is being made, or was made last."""
        self._open: set[Need[object]] = set()
        """Needs whose fact is not final."""
        self._lost: set[tuple[str, str]] = set()
        """Models that the store has lost, by namespace and digest, until it makes a slice of them again."""
        self._users: dict[Need[object], set[ServiceKey]] = defaultdict(set)
        self._used: dict[ServiceKey, frozenset[Need[object]]] = {}

    def for_plan(self) -> Facts:
        """Returns the facts as they are now, for the next plan."""
        self._planned_from = MappingProxyType(dict(self._facts))
        return self._planned_from

    def is_new(self, need: Need[object]) -> bool:
        """Whether a fact came, or was lost, while the plan was made."""
        return self._facts.get(need) is not self._planned_from.get(need)

    def is_open(self, need: Need[object]) -> bool:
        """Whether a need is still to be met."""
        return need not in self._facts or need in self._open

    def users(self, need: Need[object]) -> Collection[ServiceKey]:
        """Returns the services whose plans use a need."""
        return self._users.get(need, ())

    def woken_by(self, need: Need[object]) -> list[ServiceKey]:
        """Returns the services to plan now that a need is met: with a slice, those that await no other."""
        users = self.users(need)
        if not isinstance(need, SliceOf):
            return list(users)
        return [key for key in users if not any(map(self._is_awaited, self._used.get(key, ())))]

    def _is_awaited(self, need: Need[object]) -> bool:
        return isinstance(need, SliceOf) and need not in self._facts

    def use(self, key: ServiceKey, before: frozenset[Need[object]], after: frozenset[Need[object]]) -> None:
        """Keeps the facts that plans use, and forgets the others."""
        self._used[key] = after
        if not after:
            del self._used[key]
        for need in after:
            self._users[need].add(key)
        for need in before - after:
            self._users[need].discard(key)
            if not self._users[need]:
                del self._users[need]
                self._facts.pop(need, None)
                self._open.discard(need)
                if isinstance(need, SliceOf):
                    self._lost.discard((need.namespace, need.key.model))

    def met(self, need: Need[object], fact: Fact) -> float | None:
        """Notes a fact. Returns what `Action.done` returns: when it is to be found again."""
        if need not in self._users:
            return None
        self._facts[need] = fact
        if isinstance(need, SliceOf) and fact.error is None:
            self._lost.discard((need.namespace, need.key.model))
        elif isinstance(need, SliceOf) and fact.error is not None and fact.error.reason == reasons.NOT_FOUND:
            self._model_lost(need.namespace, need.key.model)
        if isinstance(need, LayersOf) and fact == Fact(None):
            self._forget_cards(need.namespace, need.digest)
        if isinstance(need, CardOf) and isinstance(fact.value, ModelCard):
            self._registered(need.service.namespace, fact.value.digest)
        again = FAILED if fact.error is not None else needs.again_after(fact, need)
        (self._open.discard if again is None else self._open.add)(need)
        return again

    def files_lost(self, namespace: str, digests: Collection[str]) -> None:
        """Has slices requested again whose files the store has lost."""
        for need, fact in list(self._facts.items()) if digests else ():
            if isinstance(need, SliceOf) and need.namespace == namespace and _has(fact, digests):
                del self._facts[need]

    def models_doubted(self, digests: Collection[str]) -> None:
        """Has models registered again that the store may have lost. digests: as labels of Jobs have them."""
        for need, fact in list(self._facts.items()) if digests else ():
            card = fact.value if isinstance(need, CardOf) else None
            if isinstance(card, ModelCard) and model_label(card.digest) in digests:
                del self._facts[need]

    def _model_lost(self, namespace: str, digest: str) -> None:
        """Has a model registered again of which the store knew, and knows no more."""
        if self._forget_cards(namespace, digest):
            self._lost.add((namespace, digest))

    def _forget_cards(self, namespace: str, digest: str) -> bool:
        """Has a model registered again; returns whether it had been."""
        cards = [
            need
            for need, fact in self._facts.items()
            if isinstance(need, CardOf) and need.service.namespace == namespace and _has(fact, {digest})
        ]
        for need in cards:
            del self._facts[need]
        return bool(cards)

    def _registered(self, namespace: str, digest: str) -> None:
        """Has slices requested again at once that failed while the store did not know their model.

        After a loss, they wait for their back-off instead: a store that loses the model each time would
        otherwise be called without limit.
        """
        model = (namespace, digest)
        for need, fact in self._facts.items() if model not in self._lost else ():
            if (
                fact.error is not None
                and isinstance(need, SliceOf)
                and model == (need.namespace, need.key.model)
            ):
                self._mended(need)


def _has(fact: Fact, digests: Collection[str]) -> bool:
    """Whether a fact is a model or a slice with one of these digests."""
    return isinstance(fact.value, ModelCard | Slice) and fact.value.digest in digests
