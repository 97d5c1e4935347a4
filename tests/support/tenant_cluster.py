"""A cluster on which the demo's second act runs without one."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from demo import installation
from demo.clusters import Entrance
from demo.existing_cluster import CLASS_LABEL
from demo.sharing.tenants import SERVICE
from sharing_results import LISTED

CLASSES = {"edge-a": "gateway", "edge-b": "camera", "edge-c": "camera"}
SPEEDS = {"gateway": 0.12, "camera": 0.05}
CAMERA = {"exit1": "20ms", "exit2": "90ms", "exit3": "200ms"}
GATEWAY = {"exit1": "8ms", "exit2": "36ms", "exit3": "80ms"}
Document = dict[str, Any]
# Stands for the programs that are started at a node: a client that gets a response when it is started or its
# rate changes, and the look whether a drained runtime refuses, which it does.
PROGRAM = """
import json, sys, time
if "demo.client" not in sys.argv:
    sys.exit(0)
print('{"event": "ready"}', flush=True)
for line in sys.stdin:
    if line.strip() == "stop":
        print('{"event": "stopped"}', flush=True)
    else:
        response = {"event": "answer", "sent": time.monotonic(), "latency": 0.1, "exit": "exit1"}
        print(json.dumps(response), flush=True)
"""


def profile(camera: Mapping[str, str], gateway: Mapping[str, str]) -> Document:
    classes = {"camera": camera, "cloud": {"exit3": "1s"}, "gateway": gateway}
    listed = [
        {"name": name, "exits": [{"exit": each, "mean": mean} for each, mean in exits.items()]}
        for name, exits in classes.items()
    ]
    return {"spec": {"deviceClasses": listed}}


@dataclass
class TenantCluster:
    """Carries out at once what is applied. `drained_at`, `loaded_at`: the speeds at changes of a Tenant."""

    camera: Mapping[str, str] = field(default_factory=lambda: CAMERA)
    gateway: Mapping[str, str] = field(default_factory=lambda: GATEWAY)
    never_ready: bool = False
    objects: dict[tuple[str, str], Document] = field(default_factory=dict)
    speeds: dict[str, float | None] = field(default_factory=lambda: dict(SPEEDS))
    pinned: tuple[str, ...] = ()
    drained_at: list[Mapping[str, float | None]] = field(default_factory=list)
    loaded_at: list[Mapping[str, float | None]] = field(default_factory=list)

    def kubectl(self, *args: str, text: str | None = None) -> str:
        match args:
            case ("apply", *_):
                for each in yaml.safe_load_all(text or ""):
                    self._apply(each)
            case ("delete", kind, *names):
                self._delete(kind, names)
            case ("get", "nodes", *_):
                metadata = [{"name": name, "labels": {CLASS_LABEL: of}} for name, of in CLASSES.items()]
                return json.dumps({"items": [{"metadata": each} for each in metadata]})
            case ("get", "modelprofile", *_):
                return json.dumps(profile(self.camera, self.gateway))
            case ("get", "inferenceservice", name, "-n", namespace, *_):
                return json.dumps(self._service(name, namespace))
            case ("get", "placements", "-n", namespace, *_):
                return json.dumps({"items": self._placements(namespace)})
            case ("get", "tenants"):
                return f"{LISTED}\n"
            case ("get", "services", *_):
                return "service/edge-runtime"
        return ""

    def _apply(self, document: Document) -> None:
        self.objects[document["kind"], document["metadata"]["name"]] = document
        if document["kind"] == "Tenant":
            drains = document["spec"]["stopPolicy"] == "HoldAndDrain"
            (self.drained_at if drains else self.loaded_at).append(dict(self.speeds))

    def _delete(self, kind: str, names: Sequence[str]) -> None:
        kinds = {"namespaces": "Namespace", "tenants": "Tenant"}
        for name in names:
            self.objects.pop((kinds.get(kind, ""), name), None)
        if kind in ("namespaces", "inferenceservices"):
            self.objects.pop(("InferenceService", SERVICE), None)

    def _service(self, name: str, namespace: str) -> Document:
        if name == installation.SERVICE:
            return {"spec": {"devicePool": "factory"}}
        drained = self.objects["Tenant", namespace]["spec"]["stopPolicy"] == "HoldAndDrain"
        wanted = {
            "Ready": str(not drained and not self.never_ready),
            "Progressing": "False",
            "Degraded": "False",
        }
        reason = "TenantDrained" if drained else "Starting" if self.never_ready else "Serving"
        conditions = [{"type": kind, "status": status, "reason": reason} for kind, status in wanted.items()]
        return {
            "metadata": {"generation": 1},
            "spec": self.objects["InferenceService", name]["spec"],
            "status": {"observedGeneration": 1, "conditions": conditions},
        }

    def entrance(self, node: str, namespace: str, service: str) -> Entrance:
        return Entrance((sys.executable, "-c", PROGRAM), "127.0.0.1")

    def _placements(self, namespace: str) -> list[Document]:
        tenant = self.objects.get(("Tenant", namespace), {"spec": {"stopPolicy": "None"}})
        refusal = {"refusal": "drained"} if tenant["spec"]["stopPolicy"] == "HoldAndDrain" else {}
        nodes = CLASSES if namespace == "default" else ("edge-b", "edge-c")
        return [
            {
                "metadata": {"name": f"{namespace}.{node}", "generation": 1},
                "spec": {"node": node, "mode": "RightSizingOnly", "routes": [{"name": "exit3@local"}]}
                | refusal,
                "status": {"observedGeneration": 1, "loaded": True, "activeRoute": "exit3@local"},
            }
            for node in nodes
        ]

    def set_speeds(self, speeds: Mapping[str, float | None]) -> None:
        self.speeds |= speeds

    def pin(self, nodes: Sequence[str]) -> None:
        self.pinned = tuple(nodes)

    def set_links(self, bps: float | None) -> None:
        self.links = bps
