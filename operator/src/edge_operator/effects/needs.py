"""Meets the needs of plans: asks the model store, and measurements through Triton servers. Blocking."""

from edge_operator.clients import Clients
from edge_operator.effects.executor import STORE
from edge_operator.errors import StoreError
from edge_operator.pool.facts import (
    AccuraciesOf,
    CardOf,
    EstimateOf,
    Fact,
    LayersOf,
    Need,
    ProfileOf,
    ProfileThrough,
    ProgressOf,
    SliceOf,
)
from edge_operator.store_answers import CodecAccuracies
from edge_operator.tritons.server_profiles import Failed

MEASURING = 5.0
"""Seconds between two looks at accuracies that the model store is measuring."""
RECEIVING = 3.0
"""Seconds between two looks at how far the model store is with a file."""
STORED = 10.0
"""Seconds between two looks for measurements that another service's Job can have stored."""
ESTIMABLE = 10.0
"""Seconds between two looks for an estimate, which needs another model that was measured on the class."""
UNKNOWN_LAYERS = 60.0
"""Seconds between two requests for layers of a model that the store does not know, or knows no more."""
MEASURED_SOON = 2.0
"""Seconds between two looks at a measurement through a Triton server."""


def met(need: Need[object], clients: Clients) -> Fact:
    """Returns the fact that meets a need, with the model store's error if it cannot be met."""
    try:
        return Fact(_value(need, clients))
    except StoreError as error:
        return Fact(error=error)


def again_after(fact: Fact, need: Need[object]) -> float | None:
    """Returns the seconds after which a fact is found again because it is not final; None if it is."""
    match need, fact.value:
        case AccuraciesOf(), CodecAccuracies(complete=False):
            return MEASURING
        case ProgressOf(), _:
            return RECEIVING
        case LayersOf(), None:
            return UNKNOWN_LAYERS
        case ProfileOf(), None:
            return STORED
        case EstimateOf(), None:
            return ESTIMABLE
        case ProfileThrough(), None:
            return MEASURED_SOON
        case ProfileThrough(), Failed(again=seconds):
            return max(1.0, seconds)
    return None


def target(need: Need[object]) -> str:
    """Returns what is called to meet a need: for a file at an address, the place that serves it.

    A place is one for each namespace, so that a large file of one does not hold up those of others.
    """
    match need:
        case CardOf(service=service, source=source):
            return _place(source.storage_uri, service.namespace)
        case AccuraciesOf(namespace=namespace, validation=validation):
            return _place(validation.storage_uri, namespace)
        case EstimateOf(namespace=namespace):
            # The store runs the model for up to a minute, for which nothing else waits.
            return f"estimates for namespace {namespace}"
    return STORE


def tenant(need: Need[object]) -> str:
    """Returns the namespace whose place is called to meet a need; empty if none is."""
    match need:
        case CardOf(service=service):
            return service.namespace
        case AccuraciesOf(namespace=namespace) | EstimateOf(namespace=namespace):
            return namespace
    return ""


def _place(storage_uri: str, namespace: str) -> str:
    scheme, _, rest = storage_uri.partition("://")
    return f"{scheme}://{rest.partition('/')[0]} for namespace {namespace}"


def _value(need: Need[object], clients: Clients) -> object:
    match need:
        case CardOf(service=service, source=source):
            return clients.store.of(service.namespace).register(source)
        case AccuraciesOf(namespace=namespace, card=card, validation=validation):
            return clients.store.of(namespace).codecs(card, validation)
        case LayersOf(namespace=namespace, digest=digest):
            return clients.store.of(namespace).layers(digest)
        case ProgressOf(namespace=namespace, address=address):
            return clients.store.of(namespace).progress(address)
        case ProfileOf(namespace=namespace, digest=digest, selection=selection, device_class=name):
            return clients.store.of(namespace).profile(digest, selection, name)
        case EstimateOf(namespace=namespace, digest=digest, selection=selection, device_class=name):
            return clients.store.of(namespace).estimate(digest, selection, name)
        case SliceOf(namespace=namespace, key=key):
            return clients.store.of(namespace).slice(*key)
        case ProfileThrough(subject=subject) if clients.server_profiles is not None:
            return clients.server_profiles.profile(subject)
        case ProfileThrough():
            return None
    raise AssertionError(f"{need} is met by nothing")
