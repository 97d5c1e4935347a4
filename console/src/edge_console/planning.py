"""Explanations, suppositions and the use of pools: by the operator's own plan, limited in rate and size."""

import datetime
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from edge_api import written
from edge_api.quantities import Duration, Quantity
from edge_console.errors import HiddenError, RefusedError, TooManyError, UnavailableError
from edge_console.fields import Json
from edge_console.limits import Limiter
from edge_console.rights import Sight
from edge_console.viewers import Kept
from edge_console.views.usage import usage
from edge_operator.cluster import INFERENCE_SERVICES, PLACEMENTS
from edge_operator.errors import ExplanationError, OperatorError
from edge_operator.explaining.installed import Installed
from edge_operator.explaining.overlays import Reads
from edge_operator.explaining.replanning import replanned, seen_pool
from edge_operator.explaining.services import explain_service
from edge_operator.explaining.suppositions import Supposition, suppose
from edge_operator.names import POOL_LABEL, label_value
from edge_operator.pool.drafts import Now
from edge_operator.pool.published_tables import in_force

RATE: Final = 2.0
"""Plans per second of a viewer over time."""
BURST: Final = 6
LARGEST: Final = 4096
"""Bytes of a question."""
MOST_ENTRIES: Final = 3000
"""Placements of a pool up to which it is planned here."""
_WAITING: Final = 16
"""Plans that wait for the one that is made."""
_FRESH: Final = 5.0
"""Seconds for which an explanation is used again, if no object changed or not."""


class Question(BaseModel):
    """What is supposed of a service: as in `ei what-if`. What is not given stays as it is."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    bandwidth: Annotated[Quantity, Field(ge=1, le=10**12)] | None = None
    round_trip: Annotated[Duration, Field(gt=0, le=60)] | None = None
    latency: Annotated[Duration, Field(gt=0, le=3600)] | None = None
    min_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    rate: Annotated[float, Field(gt=0, lt=1_000_000)] | None = None
    nodes: Annotated[frozenset[str], Field(max_length=16)] = frozenset()


def question(body: bytes) -> Supposition:
    """Reads a question. Raises RefusedError, which names the field, its value and what is allowed."""
    if len(body) > LARGEST:
        raise RefusedError(f"body: {len(body)} bytes is more than {LARGEST}: send only what is supposed")
    try:
        found = Question.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise RefusedError(f"{where}: {str(first['input'])[:80]!r}: {first['msg']}") from error
    return Supposition(
        bandwidth=found.bandwidth,
        round_trip=found.round_trip,
        latency=found.latency,
        min_accuracy=found.min_accuracy,
        rate=found.rate,
        nodes=found.nodes,
    )


@dataclass(frozen=True, slots=True)
class Times:
    """The clocks. monotonic: in seconds. wall: that of people."""

    monotonic: Callable[[], float]
    wall: Callable[[], datetime.datetime]


class Plans:
    """Makes plans, one at a time, so that the page stays live while a large pool is planned."""

    def __init__(self, reads: Reads, operator: Callable[[], Installed], times: Times) -> None:
        """operator: returns the settings of the operator that runs; may raise OperatorError."""
        self._reads, self._operator, self._times = reads, operator, times
        self._limiter = Limiter(times.monotonic, rate=RATE, burst=BURST)
        self._kept = Kept[tuple[str, ...], Json](256, times.monotonic)
        self._one_at_a_time, self._places = threading.Lock(), threading.Semaphore(_WAITING)
        self.threads = ThreadPoolExecutor(_WAITING, thread_name_prefix="plans")

    def explanation(self, sight: Sight, namespace: str, name: str) -> Json:
        """Returns why the routes of a service are as they are. Raises ConsoleError."""
        pool = self._pool(sight, namespace, name)

        def explained() -> Json:
            operator = self._operator()
            return written(explain_service(self._reads, namespace, name, operator, self._times.wall()))

        found = self._fresh(sight, ("explanation", namespace, name), pool, explained)
        # A tenant has services of other namespaces.
        return found if sight.tenants else {key: part for key, part in found.items() if key != "tenant"}

    def what_if(self, sight: Sight, namespace: str, name: str, body: bytes) -> Json:
        """Returns what a service would get under a supposition. Raises ConsoleError."""
        pool, supposed = self._pool(sight, namespace, name), question(body)

        def answered() -> Json:
            operator, now = self._operator(), self._times.wall()
            return written(suppose(self._reads, namespace, name, supposed, operator, now))

        return self._planned(sight, pool, answered)

    def usage(self, sight: Sight, pool: str) -> Json:
        """Returns what services use of a pool's resources. Raises ConsoleError."""
        if not sight.pools:
            raise HiddenError(f"DevicePool {pool}: does not exist, or you cannot list pools and nodes")

        def used() -> Json:
            operator = self._operator()
            seen = seen_pool(self._reads, pool, operator.settings, "", operator.scope)
            joint = replanned(seen.state, Now(0.0, self._times.wall())).joint
            if joint is None:
                return {"resources": []}
            return {"resources": usage(in_force(joint.plan.plan, joint.plan.adopted), sight)}

        return self._fresh(sight, ("usage", pool, *sorted(sight.namespaces)), pool, used)

    def _pool(self, sight: Sight, namespace: str, name: str) -> str:
        body = self._reads.get(INFERENCE_SERVICES, namespace, name) if sight.sees(namespace) else None
        if body is None:
            raise HiddenError(f"InferenceService {namespace}/{name}: does not exist, or you cannot read it")
        return str(body["spec"]["devicePool"])

    def _fresh(self, sight: Sight, key: tuple[str, ...], pool: str, make: Callable[[], Json]) -> Json:
        known = self._kept.get(key)
        if known is None:
            known = self._planned(sight, pool, make)
            self._kept.put(key, known, _FRESH)
        return known

    def _planned(self, sight: Sight, pool: str, make: Callable[[], Json]) -> Json:
        """Returns what a plan gives, or under `problem` why there is no plan yet."""
        self._limiter.take(sight.user)
        entries = len(self._reads.find(PLACEMENTS, None, f"{POOL_LABEL}={label_value(pool)}"))
        if entries > MOST_ENTRIES:
            raise RefusedError(
                f"DevicePool {pool}: {entries} entries of services are more than the {MOST_ENTRIES} that the "
                "console plans: use `ei explain` and `ei what-if`"
            )
        if not self._places.acquire(blocking=False):
            raise TooManyError("too many plans are waiting: try again in 2 s", 2.0)
        try:
            with self._one_at_a_time:
                return make()
        except ExplanationError as error:
            return {"problem": str(error)}
        except OperatorError as error:
            raise UnavailableError(str(error)) from error
        finally:
            self._places.release()
