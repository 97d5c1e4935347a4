"""The conditions of a status and their reasons, which events carry too: what each means and what to do.

docs/reasons.md lists them; `make generate` writes its table from here.
"""

from dataclasses import dataclass
from typing import Final, Literal

ConditionType = Literal[
    "Ready",
    "Progressing",
    "Degraded",
    "ModelReady",
    "Profiled",
    "Planned",
    "Placed",
    "SLOMet",
    "ControlOpen",
    "CertificatesIssued",
]

READY: Final = "Ready"
PROGRESSING: Final = "Progressing"
DEGRADED: Final = "Degraded"
MODEL_READY: Final = "ModelReady"
PROFILED: Final = "Profiled"
PLANNED: Final = "Planned"
PLACED: Final = "Placed"
SLO_MET: Final = "SLOMet"
CONTROL_OPEN: Final = "ControlOpen"
"""Of a DevicePool alone: whether a Triton server accepts model control from everyone who reaches it."""
CERTIFICATES_ISSUED: Final = "CertificatesIssued"
"""Of a DevicePool alone: whether the operator can issue and renew the certificates of its services."""

CONDITIONS: Final[dict[ConditionType, str]] = {
    READY: "At least spec.minReadyEntries entry nodes answer requests. For a DevicePool: every selector "
    "selects a node, and every selected node belongs to the pool.",
    PROGRESSING: "A model is being measured, or runtimes are starting or loading new routes.",
    DEGRADED: "Some entry nodes do not answer, or answer by an earlier plan.",
    MODEL_READY: "The model store has the model and found its exits and cuts.",
    PROFILED: "The model is measured on every device class that the plan needs.",
    PLANNED: "Every entry node has a route table.",
    PLACED: "Slices are cut, tails are loaded into Triton, and route tables are published.",
    SLO_MET: "At least the share spec.slo.objective of requests met spec.slo.latency in the last 5 minutes.",
}
"""What it means that a condition is True."""

POOL_READY: Final = "Ready (DevicePool)"
POOL_CONTROL: Final = "ControlOpen (DevicePool)"
POOL_CERTIFICATES: Final = "CertificatesIssued (DevicePool)"
EVENT: Final = "event only"

_NOTHING = "Nothing."
_WAIT = "Wait: it is retried."


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason: with which conditions it occurs, what it means, what to do about it."""

    name: str
    where: tuple[str, ...]
    meaning: str
    fix: str


REASONS: Final[dict[str, Reason]] = {}
"""Every reason by its name."""


def _reason(name: str, where: tuple[str, ...], meaning: str, fix: str) -> str:
    REASONS[name] = Reason(name, where, meaning, fix)
    return name


def known(reason: str | None, otherwise: str) -> str:
    """A reason that another process gave, or `otherwise` where this version does not know it."""
    return reason if reason in REASONS else otherwise


WAITING: Final = _reason(
    "Waiting",
    (MODEL_READY, PROFILED, PLANNED, PLACED, SLO_MET),
    "An earlier condition is not True yet.",
    "Look at the first condition that is not True.",
)
UNREADABLE: Final = _reason(
    "Unreadable",
    (READY, POOL_READY),
    "The API server accepted the object, but the operator cannot use a value in it.",
    "Correct the field that the message names.",
)

SERVING: Final = _reason("Serving", (READY, DEGRADED), "Enough entry nodes answer requests.", _NOTHING)
UP_TO_DATE: Final = _reason(
    "UpToDate", (PROGRESSING,), "Every entry node that answers uses the published routes.", _NOTHING
)
STARTING: Final = _reason(
    "Starting",
    (READY, PROGRESSING),
    "The runtimes have not sent their first report yet.",
    "Wait for the pods to start.",
)
SWITCHING: Final = _reason(
    "Switching",
    (PROGRESSING,),
    "Runtimes are loading a new route table and serve the previous one until then.",
    "Wait: it takes seconds.",
)
ENTRIES_NOT_READY: Final = _reason(
    "EntriesNotReady",
    (READY, PROGRESSING, DEGRADED),
    "Some entry nodes do not answer, for the causes that the message lists by node.",
    "Check the node and the pod that the message names.",
)
BAD_PLACEMENT: Final = _reason(
    "BadPlacement",
    (READY,),
    "The runtime cannot read its Placement.",
    "Run the same version of the operator and the runtime.",
)
CANNOT_LOAD: Final = _reason(
    "CannotLoad",
    (READY,),
    "The runtime could not load the route table and keeps the previous one.",
    "Read the message, and the log of the runtime's pod.",
)
TRIAL_CRASHED: Final = _reason(
    "TrialCrashed",
    (READY,),
    "A slice crashed the separate process in which the runtime tries each slice first.",
    "Check the model with the runtime's version of ONNX Runtime; the log of the pod has the signal.",
)
TRIAL_HUNG: Final = _reason(
    "TrialHung",
    (READY,),
    "The trial of a slice did not finish in time.",
    "Use a smaller model or a faster node.",
)
TRIAL_OVERRAN: Final = _reason(
    "TrialOverran",
    (READY,),
    "The trial of a slice needed more memory than the pod has.",
    "Raise the memory limit in runtime.resources of the chart, or use a smaller model.",
)
NOT_TRIED: Final = _reason("NotTried", (READY,), "The trial of a slice was interrupted.", _WAIT)
BAD_CERTIFICATES: Final = _reason(
    "BadCertificates",
    (READY,),
    "The runtime cannot use its TLS certificates.",
    "Replace the files in the Secret that runtime.tlsSecret of the chart names.",
)
MODEL_FAILED: Final = _reason(
    "ModelFailed",
    (READY, MODEL_READY),
    "ONNX Runtime fails to run the model on valid inputs.",
    "Run the model with ONNX Runtime alone and fix the error that the message quotes.",
)

FETCHING: Final = _reason(
    "Fetching",
    (MODEL_READY, PROFILED, PLACED),
    "The model store fetches the model, or makes what the service needs of it.",
    "Wait: it takes as long as the download.",
)
FETCHED: Final = _reason("Fetched", (MODEL_READY,), "The model is in the model store.", _NOTHING)
NOT_ONNX: Final = _reason(
    "NotOnnx",
    (MODEL_READY, READY),
    "The file is not an ONNX model that can be served.",
    "Export the model to ONNX and upload that file.",
)
DIGEST_MISMATCH: Final = _reason(
    "DigestMismatch",
    (MODEL_READY, PLACED, READY),
    "The bytes do not have the requested digest.",
    "Correct spec.model.digest, or restore the file it was computed from.",
)
UNKNOWN_OUTPUT: Final = _reason(
    "UnknownOutput",
    (MODEL_READY,),
    "An exit names an output that the model does not have.",
    "Write one of the outputs that the message lists into spec.model.exits.",
)
UNKNOWN_TENSOR: Final = _reason(
    "UnknownTensor",
    (MODEL_READY, PLACED, READY),
    "A slice was requested at a tensor that the model does not have or cannot be cut at.",
    "Delete the ModelProfile so that it is rebuilt; report it if it comes back.",
)
NO_EXITS: Final = _reason(
    "NoExits",
    (MODEL_READY,),
    "Neither the manifest nor the ONNX file lists the exits.",
    "List them in spec.model.exits, or in the metadata entry edge.exits of the file.",
)
BAD_ACCURACY: Final = _reason(
    "BadAccuracy",
    (MODEL_READY,),
    "The accuracy of an exit is not between 0 and 1.",
    "Correct it in spec.model.exits or in the metadata of the file.",
)
BAD_EXITS: Final = _reason(
    "BadExits",
    (MODEL_READY, PLANNED),
    "The exits cannot be planned with: they are not ordered by depth, or two share a name or an output.",
    "List the exits in spec.model.exits from the earliest to the full model.",
)
NOT_FOUND: Final = _reason(
    "NotFound",
    (MODEL_READY, PROFILED, PLACED, READY),
    "Nothing is stored at the address or under the digest.",
    "Upload the file, or correct spec.model.storageUri.",
)
REFUSED: Final = _reason(
    "Refused",
    (MODEL_READY, READY),
    "The server at spec.model.storageUri refuses the file, or the model store cannot read it there.",
    "Check the address and the permissions at that server, or upload the file and use store://.",
)
UNREACHABLE: Final = _reason(
    "Unreachable",
    (MODEL_READY, PROFILED, PLACED, READY),
    "The model store, or the server that it fetches the file from, does not answer.",
    f"{_WAIT} If it stays, check the pod and the Service of the model store and the network.",
)
UNSUPPORTED_SCHEME: Final = _reason(
    "UnsupportedScheme",
    (MODEL_READY, READY),
    "The model store does not read addresses with this scheme.",
    "Use store://, https://, http:// or file://.",
)
TOO_LARGE: Final = _reason(
    "TooLarge",
    (MODEL_READY, PLACED, READY),
    "The file is larger than the limit of the model store.",
    "Use a smaller model, or raise the limit.",
)
BAD_REQUEST: Final = _reason(
    "BadRequest",
    (MODEL_READY, PROFILED, PLACED, READY),
    "The model store cannot use an argument, such as validation data of the wrong shape.",
    "Correct the field that the message names.",
)
BAD_TENSOR: Final = _reason(
    "BadTensor",
    (MODEL_READY, PLACED, READY),
    "A tensor does not have the name, datatype or shape that the model declares.",
    "Correct the tensor that the message names.",
)
BAD_ANSWER: Final = _reason(
    "BadAnswer",
    (MODEL_READY, PROFILED, PLACED),
    "The model store answered with a document that this version of the operator cannot read.",
    "Run the same version of the operator and the model store.",
)
UNAUTHENTICATED: Final = _reason(
    "Unauthenticated",
    (MODEL_READY, PROFILED, PLACED),
    "The model store does not accept the operator's token.",
    "Check that the store's --operator-account names the operator's ServiceAccount, and read its log.",
)
FORBIDDEN: Final = _reason(
    "Forbidden",
    (MODEL_READY, PROFILED, PLACED),
    "The operator's account lacks this right at the model store.",
    "Name the operator's ServiceAccount with the store's --operator-account.",
)
STORE_FAILED: Final = _reason(
    "StoreFailed",
    (MODEL_READY, PROFILED, PLACED),
    "The model store failed for a reason that this version of the operator does not know.",
    "Read the message, and the log of the model store.",
)

MEASURED: Final = _reason("Measured", (PROFILED,), "The model is measured on all device classes.", _NOTHING)
PROFILING: Final = _reason(
    "Profiling",
    (PROFILED,),
    "A Job is measuring the model on a node of a device class, or waits for another measurement there.",
    "Wait: it takes a minute or two for each device class.",
)
PROFILING_FAILED: Final = _reason(
    "ProfilingFailed",
    (PROFILED,),
    "The profiling Job failed or cannot start; the message has the cause, and the time of the next attempt.",
    "Fix the cause. The Job is retried with backoff, or at once if you delete it.",
)
PROFILE_INCOMPLETE: Final = _reason(
    "ProfileIncomplete",
    (PROFILED,),
    "The model store lacks measurements of some exits, although they were measured.",
    "Wait: they are measured again with backoff, or at once if you delete the Job that the message names.",
)
NO_NODE_TO_PROFILE: Final = _reason(
    "NoNodeToProfile",
    (PROFILED,),
    "No Ready node has the labels of a device class that has to be measured.",
    "Label a node as the nodeSelector in the DevicePool says, or bring one back.",
)

PLANNED_AS_ASKED: Final = _reason(
    "Planned", (PLANNED,), "Every entry node has a route that meets the SLO at some bandwidth.", _NOTHING
)
MEASURING_CODECS: Final = _reason(
    "MeasuringCodecs",
    (PLANNED,),
    "Every entry node has a route; the model store still measures the accuracy with codecs, so hops "
    "use fp32.",
    "Wait: the plan is updated when the measurement is complete.",
)
SLO_OUT_OF_REACH: Final = _reason(
    "SLOOutOfReach",
    (PLANNED,),
    "No route meets spec.slo.latency at any bandwidth at some entry node, or requests are late there because "
    "of those of other services; the fastest routes are used.",
    "Raise spec.slo.latency to the nearest feasible latency in the message, or use a faster device class. If "
    "the message names other services, set spec.load.rate to have room reserved, or add nodes.",
)
INFEASIBLE: Final = _reason(
    "Infeasible",
    (PLANNED,),
    "At some entry node, no route meets the SLO with the accuracy that spec.slo.minAccuracy requires, or the "
    "mode has no route. The others get their routes.",
    "Apply what the message proposes; `edge-operator explain` shows every alternative.",
)
DOES_NOT_FIT: Final = _reason(
    "DoesNotFit",
    (PLANNED,),
    "The pool has too little left of a resource for this service: cpu, memory, uplink or Triton's time.",
    "Apply what the message proposes: a lower spec.load.rate, another SLO or accuracy, a higher "
    "spec.priority, fewer services, or a larger pool.",
)
DEVICE_POOL_NOT_FOUND: Final = _reason(
    "DevicePoolNotFound",
    (PLANNED,),
    "There is no DevicePool with the name in spec.devicePool.",
    "Correct spec.devicePool, or create the pool.",
)
NOTHING_TO_OPTIMIZE: Final = _reason(
    "NothingToOptimize",
    (PLANNED,),
    "spec.optimize requires prices, watts or radio that the DevicePool does not declare.",
    "Set the fields of the DevicePool that the message names, or choose another spec.optimize.",
)
BAD_DEVICE_POOL: Final = _reason(
    "BadDevicePool",
    (PLANNED,),
    "The operator cannot use a value in the DevicePool.",
    "Correct the field of the DevicePool that the message names.",
)
NO_CERTIFICATES: Final = _reason(
    "NoCertificates",
    (PLANNED, POOL_READY),
    "A Triton server has scheme HTTPS, and the operator or the runtimes have no certificates.",
    "Set operator.tlsSecret and runtime.tlsSecret of the chart, or use scheme HTTP.",
)
NAME_TAKEN: Final = _reason(
    "NameTaken",
    (PLANNED, POOL_READY),
    "A Triton server of the pool has the name of a node, so a route could not tell them apart.",
    "Rename the server in spec.tritonServers of the DevicePool.",
)
NO_NODES: Final = _reason(
    "NoNodes",
    (PLANNED, POOL_READY),
    "A nodeSelector of the DevicePool selects no node.",
    "Label a node so, or change the selector.",
)
NO_ENTRY_NODES: Final = _reason(
    "NoEntryNodes",
    (PLANNED,),
    "spec.entryNodes selects no node of the pool, or the entry nodes belong to older pools.",
    "Label a node so, change the selector, or use the pool that the message names.",
)
BAD_PROFILE: Final = _reason(
    "BadProfile",
    (PLANNED,),
    "The ModelProfile lacks a part of the model or holds times that cannot be right.",
    "Delete the ModelProfile: it is rebuilt from what the model store has, or measured again.",
)
CANNOT_PLAN: Final = _reason(
    "CannotPlan",
    (MODEL_READY, PLANNED),
    "Planning failed for a cause that no manifest is known to have.",
    "Report it with the log of the operator.",
)

PUBLISHED: Final = _reason("Published", (PLACED,), "Every entry node has its route table.", _NOTHING)
TRITON_UNREACHABLE: Final = _reason(
    "TritonUnreachable",
    (PLACED,),
    "A Triton server of the service does not answer; entry nodes use their local routes, and "
    "after 30 s another server of the pool.",
    f"{_WAIT} If it stays, check Triton and httpAddress in the DevicePool.",
)
TRITON_BUSY: Final = _reason(
    "TritonBusy",
    (PLACED,),
    "The Triton server is loading models. Published routes keep serving; new entry nodes use local routes.",
    _WAIT,
)
TRITON_UNTRUSTED: Final = _reason(
    "TritonUntrusted",
    (PLACED,),
    "TLS with the proxy in front of Triton fails because of a certificate.",
    "Check the certificate of the proxy and the Secret that operator.tlsSecret of the chart names.",
)
CONTROL_DENIED: Final = _reason(
    "ControlDenied",
    (PLACED,),
    "The Triton server restricts model control, and the operator has no key or another one. Published routes "
    "keep serving; new entry nodes use local routes.",
    "Name a Secret with the server's key in controlSecret of the server in the DevicePool, and list it in "
    "operator.tritonControlSecrets of the chart.",
)
CONTROL_WITHOUT_KEY: Final = _reason(
    "ControlWithoutKey",
    (POOL_CONTROL,),
    "A Triton server accepts model control without a key, so any client that reaches it can run code on it.",
    "Start it with --http-restricted-api and --grpc-restricted-protocol for model-repository, and name a "
    "Secret with the key in controlSecret.",
)
CONTROL_NEEDS_KEY: Final = _reason(
    "ControlNeedsKey",
    (POOL_CONTROL,),
    "The Triton servers that respond require a key for model control over HTTP.",
    _NOTHING,
)
ISSUED: Final = _reason(
    "Issued",
    (POOL_CERTIFICATES,),
    "The operator, the model store and the runtimes of the pool's services have certificates that are not "
    "due for renewal.",
    _NOTHING,
)
ISSUING_FAILED: Final = _reason(
    "IssuingFailed",
    (POOL_CERTIFICATES,),
    "The operator cannot issue or renew a certificate. The one before is used until it expires; pods without "
    "one wait for their Secret.",
    "Fix what the message says about the Secret: its name is used by something else, a quota, a permission. "
    "It is retried.",
)
TRITON_FULL: Final = _reason(
    "TritonFull",
    (PLACED,),
    "Tails of the service do not fit into the memory that the DevicePool declares for the Triton server. "
    "The routes without them are used.",
    "Raise spec.tritonServers[].memory of the DevicePool if the server has more, or remove services.",
)
TAIL_REFUSED: Final = _reason(
    "TailRefused",
    (PLACED,),
    "Triton cannot load or unload a slice.",
    "Fix what the message quotes from Triton; it must run with --model-control-mode=explicit.",
)
OBJECT_REFUSED: Final = _reason(
    "ObjectRefused",
    (MODEL_READY, PROFILED, PLACED, EVENT),
    "The API server refuses an object of the service, or an object with its name belongs to something else. "
    "An event has it if a status is refused.",
    "Fix what the message says: a quota, a permission, a policy, a name. It is retried with backoff.",
)
TAILS_LEFT: Final = _reason(
    "TailsLeft",
    (EVENT,),
    "The service was deleted while its Triton server did not answer, so its tails may still be loaded.",
    "Restart Triton, or unload the models that the message names.",
)

OBJECTIVE_MET: Final = _reason(
    "ObjectiveMet", (SLO_MET,), "Enough of the requests of 5 minutes met the SLO.", _NOTHING
)
OBJECTIVE_MISSED: Final = _reason(
    "ObjectiveMissed",
    (SLO_MET,),
    "Too many of the requests of 5 minutes took longer than spec.slo.latency.",
    "Look at the entry node that the message names; `edge-operator explain` shows what limits its plan.",
)
NO_REQUESTS: Final = _reason("NoRequests", (SLO_MET,), "There were no requests for 5 minutes.", _NOTHING)

NODES_FOUND: Final = _reason("NodesFound", (POOL_READY,), "Every selector selects a node.", _NOTHING)
OVERLAPPING: Final = _reason(
    "Overlapping",
    (POOL_READY,),
    "Older DevicePools have nodes that this one selects too, so it is planned without them.",
    "Change the selectors of one of the pools, so that each node is in one pool.",
)


def table() -> str:
    """The reasons as a Markdown table, by the condition with which each occurs first."""
    order = [*CONDITIONS, POOL_READY, POOL_CONTROL, POOL_CERTIFICATES, EVENT]
    rows = sorted(REASONS.values(), key=lambda reason: order.index(reason.where[0]))
    lines = ["| condition | reason | meaning | what to do |", "| --- | --- | --- | --- |"]
    for reason in rows:
        where = ", ".join(f"`{name}`" if name in CONDITIONS else name for name in reason.where)
        lines.append(f"| {where} | `{reason.name}` | {reason.meaning} | {reason.fix} |")
    return "\n".join(lines) + "\n"
