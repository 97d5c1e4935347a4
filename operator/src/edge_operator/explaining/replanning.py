"""The plan of a pool as an operator makes it that starts now. Only reads.

What an operator asks the model store for is taken from ModelProfiles. An account that cannot list services
of all namespaces gets a plan of those of one namespace. Cost: one list of each kind, and a plan of all
services of the pool that are seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from pydantic import ValidationError

from edge_api import ModelProfile
from edge_api.earlier import in_this_version
from edge_operator.cluster import (
    DEVICE_POOLS,
    INFERENCE_SERVICES,
    MODEL_PROFILES,
    NAMESPACES,
    NODES,
    PLACEMENTS,
    TENANTS,
    Kind,
    Object,
)
from edge_operator.errors import ExplanationError, PermissionDeniedError
from edge_operator.explaining.overlays import Mirrored, Reads
from edge_operator.keys import ServiceKey
from edge_operator.observed import snapshots
from edge_operator.observed.mirror import Mirror
from edge_operator.pool import manifests, plans, recorded
from edge_operator.pool.drafts import Now
from edge_operator.pool.facts import AccuraciesOf, CardOf, Fact, LayersOf, Need, ProfileOf
from edge_operator.pool.plans import PoolPlan
from edge_operator.pool.states import PoolState
from edge_operator.settings import Settings
from edge_operator.store_answers import CodecAccuracies

READ: Final[tuple[Kind, ...]] = (
    DEVICE_POOLS, NODES, INFERENCE_SERVICES, PLACEMENTS, MODEL_PROFILES, TENANTS, NAMESPACES,
)  # fmt: skip
"""The kinds that a plan is made from."""


@dataclass(frozen=True, slots=True)
class SeenPool:
    """A pool as an account sees it at the API server.

    Attributes:
        state: What its plan is made from.
        hidden: The kinds whose objects the account may list in one namespace alone.
    """

    state: PoolState
    hidden: tuple[Kind, ...] = ()


def seen_pool(cluster: Reads, name: str, settings: Settings, namespace: str, scope: str | None) -> SeenPool:
    """Returns a pool as the API server has it.

    namespace: the one to read if the account cannot list objects of all. scope: the only one to read; None:
    all. Raises ExplanationError if a permission is missing without which there is no plan, ClusterError.
    """
    mirror, hidden = Mirror(), []
    for kind in READ:
        bodies, complete = _listed(cluster, kind, settings, namespace, scope)
        for body in bodies:
            mirror.put(kind.kind, body)
        if not complete:
            hidden.append(kind)
    return SeenPool(_state(Mirrored(mirror), name, settings, scope), tuple(hidden))


def pools_role(settings: Settings) -> str:
    """Returns the chart's ClusterRole for reading pools and nodes."""
    return f"{settings.namespace}-edge-pools"


def view_role(settings: Settings) -> str:
    """Returns the chart's ClusterRole for reading services, their profiles and their Placements."""
    return f"{settings.namespace}-edge-view"


def _listed(
    cluster: Reads, kind: Kind, settings: Settings, namespace: str, scope: str | None
) -> tuple[list[Object], bool]:
    """Returns the objects of a kind that may be seen, and whether these are all."""
    try:
        return cluster.find(kind, scope if kind.namespaced else None), True
    except PermissionDeniedError as error:
        if not kind.namespaced:
            raise ExplanationError(
                f"{kind.plural}: this account cannot list them: have an administrator bind it to "
                f"ClusterRole {pools_role(settings)} by a ClusterRoleBinding"
            ) from error
    try:
        return cluster.find(kind, namespace), False
    except PermissionDeniedError as error:
        raise ExplanationError(
            f"{kind.plural} of namespace {namespace}: this account cannot list them: have an administrator "
            f"bind it to ClusterRole {view_role(settings)} by a RoleBinding there"
        ) from error


def _state(reads: Reads, name: str, settings: Settings, scope: str | None) -> PoolState:
    return PoolState(
        name=name,
        settings=settings,
        body=reads.get(DEVICE_POOLS, None, name),
        pools=snapshots.pool_names(reads),
        older=snapshots.older_pools(reads, name),
        nodes=snapshots.nodes(reads),
        services={
            key: snapshots.service_state(reads, key, body, refusals={}, loads={}, unloads={})
            for key, body in snapshots.services_of(reads, name, scope).items()
        },
        placements=snapshots.pool_placements(reads, name),
        tenancy=snapshots.tenancy(reads),
    )


def replanned(state: PoolState, now: Now) -> PoolPlan:
    """Returns the first plan of an operator that starts, with the ModelProfiles in place of the store."""
    profiles = _profiles(state)
    facts: dict[Need[object], Fact] = {}
    while True:
        found = plans.plan(replace(state, facts=facts), plans.NOTHING, now)
        needs = frozenset(need for each in found.services.values() for need in each.used) - facts.keys()
        known = {need: fact for need in needs if (fact := _recorded(need, profiles)) is not None}
        if not known:
            return found
        facts |= known


def _profiles(state: PoolState) -> dict[ServiceKey, ModelProfile]:
    found = {}
    for key, own in state.services.items():
        if own.profile is not None:
            try:
                found[key] = ModelProfile.model_validate(in_this_version(own.profile))
            except ValidationError:
                continue
    return found


def _recorded(need: Need[object], profiles: Mapping[ServiceKey, ModelProfile]) -> Fact | None:
    """Returns what ModelProfiles tell of a need; None if they do not tell."""
    if isinstance(need, CardOf):
        profile = profiles.get(need.service)
        card = recorded.metadata(profile.spec) if profile is not None else None
        return None if card is None else Fact(card)
    if isinstance(need, AccuraciesOf):
        return Fact(_accuracies(need, profiles))
    # What is not in a ModelProfile is not measured as far as this plan knows.
    return Fact(None) if isinstance(need, LayersOf | ProfileOf) else None


def _accuracies(need: AccuraciesOf, profiles: Mapping[ServiceKey, ModelProfile]) -> CodecAccuracies:
    for key, profile in profiles.items():
        model = profile.spec.model
        exits = tuple((e.name, e.names, e.accuracy) for e in model.exits)
        if (key.namespace, model.digest, exits) == (need.namespace, need.digest, need.exits):
            found = manifests.codec_accuracies(profile.spec)
            if found is not None:
                return found
    return CodecAccuracies(complete=False, samples=0)
