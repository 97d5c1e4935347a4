"""A cluster, a model store and a Triton server in memory that record calls in order."""

import contextlib
import copy
import datetime
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import pytest_socket

from at_once import AtOnce
from edge_api.model_sources import ModelSource, Validation
from edge_api.tensors import Slice, Tensor
from edge_operator.clients import Clients, Clock
from edge_operator.cluster import (
    DEPLOYMENTS,
    DEVICE_POOLS,
    INFERENCE_SERVICES,
    JOBS,
    KINDS,
    NODES,
    PLACEMENTS,
    Kind,
    Object,
)
from edge_operator.effects.writes import write
from edge_operator.errors import StoreError, WriteConflictError
from edge_operator.explaining.installed import Installed
from edge_operator.explaining.services import explain_service
from edge_operator.explaining.values import Explanation
from edge_operator.keys import NamespaceKey, ServiceKey
from edge_operator.loops.namespaces import Findings, NamespaceMemory, reconcile_namespace
from edge_operator.loops.pools import PoolLoop
from edge_operator.loops.shared import Shared
from edge_operator.loops.tenant_reports import TenantReports
from edge_operator.names import NODE_LABEL
from edge_operator.pool import plans
from edge_operator.pool.drafts import Now
from edge_operator.pool.services import ServicePlan
from edge_operator.pool.states import PoolState
from edge_operator.pool_nodes import node_of
from edge_operator.settings import Settings
from edge_operator.store import Blob
from edge_operator.store_answers import CodecAccuracies, DeviceProfile, LayerGraph, ModelCard
from edge_operator.tritons.admitted import Admitted
from edge_operator.versions import same_but_status
from explicit_triton import FakeTriton
from fetched_files import FetchedFiles, has_label
from operator_objects import CARD, KEY, device_profile, node_body, pool_body, service_body
from resized_pods import ResizedPods
from served_kinds import ServedKinds
from tenant_side import TenantSide
from triton_looks import TritonLooks

START = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
INSTALLATION = "c0ffee000000"


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Real I/O in these tests is a mistake."""
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()


@dataclass
class FakeCluster(ResizedPods, ServedKinds):
    """Objects by (kind, namespace, name); generation and resourceVersion count as the API server's do.

    It refuses writes to another object, or to a later version, than the one that they are for.
    """

    log: list[str]
    objects: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    status_writes: int = 0
    revision: int = 0

    def put(self, body: Object) -> Object:
        """Creates or replaces an object as a user would."""
        stored = copy.deepcopy(body)
        before = self.objects.get(_key(stored))
        self.revision += 1
        generation = (before["metadata"]["generation"] if before else 0) + (
            before is None or before.get("spec") != stored.get("spec")
        )
        stored["metadata"] |= {
            "generation": generation,
            "resourceVersion": str(self.revision),
            "uid": before["metadata"]["uid"] if before else f"uid-{self.revision}",
        }
        if before is not None and "status" in before and "status" not in stored:
            stored["status"] = before["status"]
        self.objects[_key(stored)] = stored
        return copy.deepcopy(stored)

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        return copy.deepcopy(self.objects.get((kind.kind, namespace or "", name)))

    fetch = get

    def find(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Object]:
        wanted = [part.split("=") for part in labels.split(",") if part]
        return [
            copy.deepcopy(body)
            for (k, n, _), body in list(self.objects.items())
            if k == kind.kind
            and namespace in (None, n)
            and all(has_label(body["metadata"].get("labels") or {}, *w) for w in wanted)
        ]

    def apply(self, wanted: Object, seen: Object | None = None, *, unchanged: bool = False) -> Object:
        before = self.objects.get(_key(wanted))
        if seen is not None:
            self._check(before, seen, unchanged=unchanged)
        self.log.append(f"apply {wanted['kind']} {wanted['metadata']['name']}")
        kept = (
            {"finalizers": before["metadata"]["finalizers"]}
            if before and "finalizers" in before["metadata"]
            else {}
        )
        return self.put({**wanted, "metadata": {**wanted["metadata"], **kept}})

    def apply_status(self, kind: Kind, seen: Object, status: Object) -> Object | None:
        metadata = seen["metadata"]
        key = (kind.kind, metadata.get("namespace") or "", metadata["name"])
        if key not in self.objects:
            return None
        self._check(self.objects[key], seen, unchanged=True)
        self.status_writes += 1
        return self.report_status(kind, metadata.get("namespace"), metadata["name"], status)

    def report_status(self, kind: Kind, namespace: str | None, name: str, status: Object) -> Object:
        """Writes a status as another client does, such as a runtime."""
        body = self.objects[kind.kind, namespace or "", name]
        self.revision += 1
        body["status"] = copy.deepcopy(status)
        body["metadata"]["resourceVersion"] = str(self.revision)
        return copy.deepcopy(body)

    def set_finalizers(self, kind: Kind, current: Object, finalizers: list[str]) -> Object:
        body = self.objects[_key(current)]
        self._check(body, current, unchanged=True)
        self.log.append(f"finalizers {finalizers}")
        self.revision += 1
        body["metadata"]["finalizers"] = finalizers
        body["metadata"]["resourceVersion"] = str(self.revision)
        if not finalizers and body["metadata"].get("deletionTimestamp"):
            del self.objects[_key(current)]
        return copy.deepcopy(body)

    def annotate(self, kind: Kind, current: Object, annotations: Mapping[str, str | None]) -> Object:
        body = self.objects[_key(current)]
        self._check(body, current)
        self.log.append(f"annotate {kind.kind} {body['metadata']['name']}")
        self.revision += 1
        after = {**(body["metadata"].get("annotations") or {}), **annotations}
        body["metadata"]["annotations"] = {key: text for key, text in after.items() if text is not None}
        body["metadata"]["resourceVersion"] = str(self.revision)
        return copy.deepcopy(body)

    def create(self, body: Object) -> Object:
        if _key(body) in self.objects:
            raise WriteConflictError("the object exists")
        return self.put(body)

    def replace(self, body: Object) -> Object:
        if body["metadata"]["resourceVersion"] != self.objects[_key(body)]["metadata"]["resourceVersion"]:
            raise WriteConflictError("the object has been modified")
        return self.put(body)

    def delete(self, kind: Kind, namespace: str | None, name: str, seen: Object | None = None) -> None:
        before = self.objects.get((kind.kind, namespace or "", name))
        if before is not None and seen is not None:
            self._check(before, seen)
        self.log.append(f"delete {kind.kind} {name}")
        if before is not None and before["metadata"].get("finalizers"):
            self.revision += 1
            before["metadata"]["deletionTimestamp"] = START.isoformat()
            before["metadata"]["resourceVersion"] = str(self.revision)
            return
        self.objects.pop((kind.kind, namespace or "", name), None)

    def record(self, regarding: Object, event_type: str, reason: str, message: str) -> None:
        self.events.append((event_type, reason, message))

    def _check(self, there: Object | None, seen: Object, *, unchanged: bool = False) -> None:
        """Raises WriteConflictError if the object is another one, or has changed since.

        unchanged: also if its status has.
        """
        if there is None or there["metadata"]["uid"] != seen["metadata"]["uid"]:
            raise WriteConflictError("uid mismatch")
        if unchanged and there["metadata"]["resourceVersion"] != seen["metadata"]["resourceVersion"]:
            raise WriteConflictError("the object has been modified")
        if not same_but_status(seen, there):
            raise WriteConflictError("the object has been modified")


@dataclass
class FakeStore(FetchedFiles):
    """Has one model, and the profiles that were stored."""

    log: list[str]
    card: ModelCard = CARD
    cards: dict[str, ModelCard] = field(default_factory=dict)
    """Of other models, by address."""
    profiles: dict[str, DeviceProfile] = field(default_factory=dict)
    graph: LayerGraph | None = field(
        default_factory=lambda: LayerGraph(inputs=(), outputs=(), layers=(), tensors=())
    )
    estimates: dict[str, DeviceProfile] = field(default_factory=dict)
    failure: StoreError | None = None
    accuracies: CodecAccuracies | StoreError = field(
        default_factory=lambda: CodecAccuracies(complete=False, samples=0)
    )
    url: str = "http://store.test:8080"
    registered: list[ModelSource] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    """For which it was used."""

    def of(self, namespace: str) -> "FakeStore":
        self.namespaces.append(namespace)
        return self

    def register(self, source: ModelSource) -> ModelCard:
        self.registered.append(source)
        self.check_source(source)
        if self.failure is not None:
            raise self.failure
        self.log.append(f"register {source.storage_uri}")
        return self.cards.get(source.storage_uri, self.card)

    def slice(
        self,
        model: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        decode: str,
        encode: str,
        kept: Sequence[str] = (),
    ) -> Slice:
        assert not kept, "no exit has several outputs"
        name = f"{'+'.join(inputs)}>{'+'.join(outputs)}"
        name = f"{name} {decode}>{encode}" if (decode, encode) != ("fp32", "fp32") else name
        self.log.append(f"slice {name}")
        digest = "sha256:" + hashlib.sha256(name.encode()).hexdigest()
        ins, outs = (
            tuple(
                Tensor(name=n if codec == "fp32" else f"{n}:{codec}", datatype="FP32", shape=(-1, 4))
                for n in names
            )
            for names, codec in ((inputs, decode), (outputs, encode))
        )
        return Slice(digest=digest, size=1234, inputs=ins, outputs=outs)

    def layers(self, model: str) -> LayerGraph | None:
        return self.graph

    def profile(self, model: str, selection: str, device_class: str) -> DeviceProfile | None:
        """Profiles under the name of a class alone are those of any pool."""
        found = self.profiles.get(f"{selection}/{device_class}") or self.profiles.get(device_class)
        return found.model_copy(update={"selection": selection}) if found is not None else None

    def estimate(self, model: str, selection: str, device_class: str) -> DeviceProfile | None:
        found = self.estimates.get(device_class)
        return found.model_copy(update={"selection": selection}) if found is not None else None

    def codecs(self, card: ModelCard, validation: Validation) -> CodecAccuracies:
        self.log.append(f"codecs {validation.storage_uri}")
        if isinstance(self.accuracies, StoreError):
            raise self.accuracies
        return self.accuracies

    @contextlib.contextmanager
    def blob(self, digest: str) -> Iterator[Blob]:
        yield Blob(len(digest), [digest.encode()])


@dataclass
class World(TenantSide):
    """A pool of two cameras and a gateway with Triton, a profiled model, a service, and a manual clock."""

    log: list[str] = field(default_factory=list)
    now: float = 1000.0
    counted: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.cluster = FakeCluster(self.log)
        self.store = FakeStore(self.log)
        self.triton: Any = FakeTriton(self.log)
        self.settings = Settings("http://store.test:8080", "edge-runtime:test", installation=INSTALLATION)
        self.server_profiles: Any = None
        self.restart()
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
        self.cluster.put(namespace)
        classes = {"cam-1": "camera", "cam-2": "camera", "gate": "gateway", "big": "cloud"}
        for name, device_class in classes.items():
            self.cluster.put(node_body(name, device_class))
        self.cluster.put(pool_body())
        self.cluster.put(service_body())
        for device_class, scale in (("camera", 1.0), ("gateway", 0.5), ("cloud", 0.05)):
            self.store.profiles[device_class] = device_profile(device_class, scale)

    def settings_with(self, **changed: Any) -> Settings:
        return replace(self.settings, **changed)

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: START + datetime.timedelta(seconds=self.now))

    @property
    def clients(self) -> Clients:
        return Clients(self.cluster, self.store, self.triton, self.admitted, self.server_profiles)

    def reconcile(self) -> float | None:
        """All pools are planned until nothing changes, then the namespace, with a look at Triton beside.

        Returns the seconds until a service has to be planned again; None if the service is gone.
        """
        self.collect()
        self.plan()
        self.reconcile_namespace()
        self.collect()
        planned = self.planned()
        return planned.again_at - self.now if planned is not None and not planned.gone else None

    def plan(self) -> None:
        """The loops of all pools take their turns until nothing is left to do."""
        self.actions.resting.clear()
        bodies = [body["metadata"]["name"] for body in self.cluster.find(DEVICE_POOLS)]
        named = [body["spec"]["devicePool"] for body in self.cluster.find(INFERENCE_SERVICES)]
        for name in dict.fromkeys([*bodies, *named, *self.loops]):
            loop = self.loops.setdefault(name, PoolLoop(name, self.shared()))
            loop.shared = self.shared()
            loop.topology_changed()
            loop.measurements_changed()
            loop.tenants_changed()
            for _ in range(50):
                loop.act(plans.plan(loop.take(), loop.plan, loop.now()))
                if not loop.due:
                    break
            else:
                raise AssertionError(f"pool {name} does not come to rest: {self.log[-20:]}")

    def planned(self, key: ServiceKey = KEY) -> ServicePlan | None:
        """The newest plan of a service."""
        return next(
            (loop.plan.services[key] for loop in self.loops.values() if key in loop.plan.services), None
        )

    def explained(self, key: ServiceKey = KEY) -> Explanation:
        """What `ei explain` says of a service."""
        return explain_service(self.cluster, *key, Installed(self.settings), self.clock().wall())

    def report_pool(self, name: str = "factory", **seen: Any) -> None:
        """Writes the status of a pool as its next plan has it. seen: of the PoolState."""
        found = [node_of(body) for body in self.cluster.find(NODES)]
        body = self.cluster.get(DEVICE_POOLS, None, name)
        state = PoolState(name, self.settings, body, nodes=tuple(found), **seen)
        previous = self.pool_plans.get(name, plans.NOTHING)
        self.pool_plans[name] = plans.plan(state, previous, Now(self.now, self.clock().wall()))
        status = self.pool_plans[name].status
        if status is not None:
            write(self.cluster, [status])

    def reconcile_namespace(self) -> float | None:
        """One reconcile of the service's namespace."""
        memory = self.namespaces.setdefault(NamespaceKey(KEY.namespace), NamespaceMemory())
        _, again = reconcile_namespace(KEY.namespace, self.cluster, self.settings, memory, self.clock())
        return again

    def collect(self) -> None:
        """One look at each Triton server."""
        self.looks.take()

    def restart(self) -> None:
        """Forgets the state that a restart of the operator loses."""
        self.actions, self.loops, self.admitted = AtOnce(), dict[str, PoolLoop](), Admitted()
        self.pool_plans = dict[str, plans.PoolPlan]()
        self.namespaces: dict[NamespaceKey, NamespaceMemory] = {}
        self.looks = TritonLooks(self)
        self.tenants = TenantReports(self.clients, self.clock(), self.actions)

    def shared(self) -> Shared:
        return Shared(
            self.clients,
            self.settings,
            self.clock(),
            self.actions,
            self.looks.loops.findings,
            Findings(self.namespaces),
            planned=self.tenants.planned,
        )

    def runtimes_report(self, *, loaded: bool = True, **more: Any) -> None:
        """Every runtime has received its Placement."""
        for body in self.placements().values():
            route = body["spec"]["routes"][0]
            status = {
                "observedGeneration": body["metadata"]["generation"],
                "loaded": loaded,
                "activeRoute": route["name"],
                "exit": route["exit"],
                "cut": route["cut"],
                "since": START.isoformat(),
                "requests": self.counted[0],
                "met": self.counted[1],
                "lastUpdated": (START + datetime.timedelta(seconds=self.now)).isoformat(),
            }
            self.cluster.report_status(PLACEMENTS, KEY.namespace, body["metadata"]["name"], status | more)
        self.pods_are_ready()

    def pods_are_ready(self, *, at: str = "", ready: bool = True) -> None:
        """The kubelet reports on the pods of the runtimes, at all nodes or at one."""
        for body in self.cluster.find(DEPLOYMENTS, KEY.namespace, f"{NODE_LABEL}={at}" if at else ""):
            self.cluster.put(body | {"status": {"readyReplicas": 1} if ready else {}})

    def requests_arrive(self, count: int, met: int, **more: Any) -> None:
        """So many requests were answered at each entry node, and the runtimes report them."""
        self.counted = (self.counted[0] + count, self.counted[1] + met)
        self.runtimes_report(**more)

    def settle(self) -> None:
        """Reconciles until the runtimes serve the published tables."""
        self.reconcile()
        self.runtimes_report()
        self.now += 10
        self.reconcile()

    def service(self) -> Object:
        body = self.cluster.get(INFERENCE_SERVICES, *KEY)
        assert body is not None
        return body

    def change(self, **spec: Any) -> None:
        """Edits the service as a user would."""
        body = self.service()
        self.cluster.put(body | {"spec": body["spec"] | spec})

    def placements(self) -> dict[str, Object]:
        return {body["spec"]["node"]: body for body in self.cluster.find(PLACEMENTS, KEY.namespace)}

    def deployments(self) -> list[str]:
        return sorted(body["metadata"]["name"] for body in self.cluster.find(DEPLOYMENTS, KEY.namespace))

    def jobs(self) -> list[Object]:
        return self.cluster.find(JOBS, self.settings.namespace)

    def condition(self, kind: str) -> Object:
        conditions: list[Object] = self.service().get("status", {}).get("conditions", [])
        return next(c for c in conditions if c["type"] == kind)

    def pool(self) -> Object:
        body = self.cluster.get(DEVICE_POOLS, None, "factory")
        assert body is not None
        return body

    def node(self, name: str, device_class: str, *, ready: bool = True) -> None:
        self.cluster.put(node_body(name, device_class, ready=ready))

    def remove_node(self, name: str) -> None:
        self.cluster.delete(NODES, None, name)


def _key(body: Object) -> tuple[str, str, str]:
    assert body["kind"] in KINDS
    return (body["kind"], body["metadata"].get("namespace") or "", body["metadata"]["name"])


@pytest.fixture
def world() -> World:
    return World()
