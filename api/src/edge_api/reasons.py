"""The conditions of a status and their reasons, which events carry too: what each means and what to do.

docs/reasons.md lists them; `make generate` writes its table from here.
"""

from typing import Final

from edge_api.admission_reasons import (
    FETCHING_DISABLED,
    MODEL_NOT_SHARED,
    NAMESPACE_OF_OLDER_TENANT,
    POOL_ENDS,
    PORT_IN_USE,
    PRIORITY_ABOVE_CEILING,
    QUOTA_ADMITS_NOTHING,
    QUOTA_USED_UP,
    QUOTAS_EXCEED_POOL,
    STILL_IN_USE,
    TENANT_STOPPED,
    UNKNOWN_POOL,
)  # fmt: skip
from edge_api.deletion_reasons import OBJECTS_LEFT, TAILS_LEFT
from edge_api.fetch_reasons import DISK_FULL, FETCH_FAILED, FETCHED, FETCHING, TOO_LARGE, UNSUPPORTED_SCHEME
from edge_api.idle_reasons import SESSIONS_LOADED, SESSIONS_RELEASED
from edge_api.pool_reasons import (
    ISSUED,
    ISSUING_FAILED,
    NODES_FOUND,
    OVERLAPPING,
    UNITS_INSTALLED,
    UNITS_INSTALLING,
    UNITS_NOT_INSTALLED,
    USED_BY_SERVICES,
)  # fmt: skip
from edge_api.reason_registry import (
    ACTIVE,
    ADMISSION,
    CERTIFICATES_ISSUED,
    CONDITIONS,
    CONTROL_OPEN,
    DEGRADED,
    EVENT,
    IDLE,
    IN_USE,
    MODEL_READY,
    NOTHING,
    OTHER_KINDS,
    PLACED,
    PLANNED,
    POOL_CERTIFICATES,
    POOL_CONTROL,
    POOL_READY,
    POOL_UNITS,
    PROFILED,
    PROGRESSING,
    READY,
    REASONS,
    ROLLED_OUT,
    RUNTIMES_UPDATED,
    SATISFIED,
    SLO_MET,
    SURVIVES_REBOOT,
    TENANT_ACTIVE,
    TENANT_READY,
    TENANT_SATISFIED,
    WAIT,
    ConditionType,
    Reason,
    known,
    registered,
)  # fmt: skip
from edge_api.rollout_reasons import (
    CANDIDATE_DIFFERS,
    CANDIDATE_FAILS,
    CANDIDATE_INACCURATE,
    CANDIDATE_MISSES_SLO,
    CANDIDATE_NOT_LOADED,
    CANDIDATE_WAITS,
    CURRENT,
    ROLLING_OUT,
    ROLLOUT_ABORTED,
    ROLLOUT_PAUSED,
)  # fmt: skip
from edge_api.runtime_reasons import RUNTIMES_CURRENT, RUNTIMES_FAIL, RUNTIMES_MISS_SLO, RUNTIMES_ROLLING_OUT
from edge_api.shape_reasons import (
    BAD_INPUTS,
    BAD_SAMPLES,
    INPUTS_REFUSED,
    MEASURING_ON_REQUESTS,
    SHAPES_UNKNOWN,
)  # fmt: skip
from edge_api.slo_reasons import NO_REQUESTS, OBJECTIVE_MET, OBJECTIVE_MISSED
from edge_api.tenant_reasons import (
    ALL_SERVED,
    DRAINED,
    HELD,
    NAMESPACES_FOUND,
    NO_NAMESPACES,
    PLACING,
    RECLAIMED,
    SERVICES_REFUSED,
    STEPPED_DOWN,
    TENANT_DRAINED,
    TENANT_HELD,
)  # fmt: skip

__all__ = [
    "ACTIVE", "ADMISSION", "ALL_SERVED", "BAD_INPUTS", "BAD_SAMPLES", "CANDIDATE_DIFFERS", "CANDIDATE_FAILS",
    "CANDIDATE_INACCURATE", "CANDIDATE_MISSES_SLO", "CANDIDATE_NOT_LOADED", "CANDIDATE_WAITS",
    "CERTIFICATES_ISSUED", "CONDITIONS", "CONTROL_OPEN", "CURRENT", "DEGRADED", "DISK_FULL", "DRAINED",
    "EVENT", "FETCHED", "FETCHING", "FETCHING_DISABLED", "FETCH_FAILED", "HELD", "IDLE", "INPUTS_REFUSED",
    "IN_USE", "ISSUED", "ISSUING_FAILED", "MEASURING_ON_REQUESTS", "MODEL_NOT_SHARED", "MODEL_READY",
    "NAMESPACES_FOUND", "NAMESPACE_OF_OLDER_TENANT", "NODES_FOUND", "NO_NAMESPACES", "NO_REQUESTS",
    "OBJECTIVE_MET", "OBJECTIVE_MISSED", "OBJECTS_LEFT", "OTHER_KINDS", "OVERLAPPING", "PLACED", "PLACING",
    "PLANNED", "POOL_CERTIFICATES", "POOL_CONTROL", "POOL_ENDS", "POOL_READY", "POOL_UNITS", "PORT_IN_USE",
    "PRIORITY_ABOVE_CEILING", "PROFILED", "PROGRESSING", "QUOTAS_EXCEED_POOL", "QUOTA_ADMITS_NOTHING",
    "QUOTA_USED_UP", "READY", "REASONS", "RECLAIMED", "ROLLED_OUT", "ROLLING_OUT", "ROLLOUT_ABORTED",
    "ROLLOUT_PAUSED", "RUNTIMES_CURRENT", "RUNTIMES_FAIL", "RUNTIMES_MISS_SLO", "RUNTIMES_ROLLING_OUT",
    "RUNTIMES_UPDATED", "SATISFIED", "SERVICES_REFUSED", "SESSIONS_LOADED", "SESSIONS_RELEASED",
    "SHAPES_UNKNOWN", "SLO_MET", "STEPPED_DOWN", "STILL_IN_USE", "SURVIVES_REBOOT", "TAILS_LEFT",
    "TENANT_ACTIVE", "TENANT_DRAINED", "TENANT_HELD", "TENANT_READY", "TENANT_SATISFIED", "TENANT_STOPPED",
    "TOO_LARGE", "UNITS_INSTALLED", "UNITS_INSTALLING", "UNITS_NOT_INSTALLED", "UNKNOWN_POOL",
    "UNSUPPORTED_SCHEME", "USED_BY_SERVICES", "ConditionType", "Reason", "known",
]  # fmt: skip
"""Names of other modules that belong here, too."""

WAITING: Final = registered(
    "Waiting",
    (MODEL_READY, PROFILED, PLANNED, PLACED, SLO_MET),
    "An earlier condition is not True yet.",
    "Look at the first condition that is not True.",
)
UNREADABLE: Final = registered(
    "Unreadable",
    (READY, POOL_READY, TENANT_READY),
    "The API server accepted the object, but the operator cannot use a value in it.",
    "Correct the field that the message names.",
)

SERVING: Final = registered("Serving", (READY, DEGRADED), "Enough entry nodes answer requests.", NOTHING)
UP_TO_DATE: Final = registered(
    "UpToDate", (PROGRESSING,), "Every entry node that answers uses the published routes.", NOTHING
)
SUSPENDED: Final = registered(
    "Suspended",
    (PLANNED,),
    "spec.suspend is true: the service has no routes, and requests are refused.",
    "Set spec.suspend to false to serve requests again.",
)
STARTING: Final = registered(
    "Starting",
    (READY, PROGRESSING),
    "The runtimes have not sent their first report yet.",
    "Wait for the pods to start.",
)
SWITCHING: Final = registered(
    "Switching",
    (PROGRESSING,),
    "Runtimes are loading a new route table and serve the previous one until then.",
    "Wait: it takes seconds.",
)
ENTRIES_NOT_READY: Final = registered(
    "EntriesNotReady",
    (READY, PROGRESSING, DEGRADED),
    "Some entry nodes do not answer, for the causes that the message lists by node.",
    "Check the node and the pod that the message names.",
)
BAD_PLACEMENT: Final = registered(
    "BadPlacement",
    (READY,),
    "The runtime cannot read its Placement.",
    "Run the same version of the operator and the runtime.",
)
CANNOT_LOAD: Final = registered(
    "CannotLoad",
    (READY,),
    "The runtime could not load the route table and keeps the previous one.",
    "Read the message, and the log of the runtime's pod.",
)
TRIAL_CRASHED: Final = registered(
    "TrialCrashed",
    (READY,),
    "A slice crashed the separate process in which the runtime tries each slice first.",
    "Check the model with the runtime's version of ONNX Runtime; the log of the pod has the signal.",
)
TRIAL_HUNG: Final = registered(
    "TrialHung",
    (READY,),
    "The trial of a slice did not finish in time.",
    "Use a smaller model or a faster node.",
)
TRIAL_OVERRAN: Final = registered(
    "TrialOverran",
    (READY,),
    "The trial of a slice needed more memory than the pod has.",
    "Raise the memory limit in runtime.resources of the chart, or use a smaller model.",
)
NOT_TRIED: Final = registered("NotTried", (READY,), "The trial of a slice was interrupted.", WAIT)
BAD_CERTIFICATES: Final = registered(
    "BadCertificates",
    (READY,),
    "The runtime cannot use its TLS certificates.",
    "Replace the files in the Secret that runtime.tlsSecret of the chart names.",
)
MODEL_FAILED: Final = registered(
    "ModelFailed",
    (READY, MODEL_READY),
    "ONNX Runtime fails to run the model on valid inputs.",
    "Run the model with ONNX Runtime alone and fix the error that the message quotes.",
)

NOT_ONNX: Final = registered(
    "NotOnnx",
    (MODEL_READY, READY),
    "The file is not an ONNX model that can be served.",
    "Export the model to ONNX and upload that file.",
)
DIGEST_MISMATCH: Final = registered(
    "DigestMismatch",
    (MODEL_READY, PLACED, READY),
    "The bytes do not have the requested digest.",
    "Correct spec.model.digest, or restore the file it was computed from.",
)
UNKNOWN_OUTPUT: Final = registered(
    "UnknownOutput",
    (MODEL_READY,),
    "An exit names an output that the model does not have.",
    "Write one of the outputs that the message lists into spec.model.exits.",
)
UNKNOWN_TENSOR: Final = registered(
    "UnknownTensor",
    (MODEL_READY, PLACED, READY),
    "A slice was requested at a tensor that the model does not have or cannot be cut at.",
    "Delete the ModelProfile so that it is rebuilt; report it if it comes back.",
)
NO_EXITS: Final = registered(
    "NoExits",
    (MODEL_READY,),
    "No output of the model is computed from an input.",
    "Use a file with such an output.",
)
BAD_ACCURACY: Final = registered(
    "BadAccuracy",
    (MODEL_READY,),
    "The accuracy of an exit is not between 0 and 1, or missing although there are several exits.",
    "Correct it in spec.model.exits or in the metadata of the file.",
)
BAD_EXITS: Final = registered(
    "BadExits",
    (MODEL_READY, PLANNED),
    "The exits cannot be planned with: they are not ordered by depth, or two share a name or an output.",
    "List the exits in spec.model.exits from the earliest to the full model.",
)
NOT_FOUND: Final = registered(
    "NotFound",
    (MODEL_READY, PROFILED, PLACED, READY),
    "Nothing is stored at the address or under the digest.",
    "Upload the file, or correct spec.model.storageUri.",
)
REFUSED: Final = registered(
    "Refused",
    (MODEL_READY, READY),
    "The server at spec.model.storageUri refuses the file, or the model store cannot read it there.",
    "Check the address and the permissions at that server, or upload the file and use store://.",
)
UNREACHABLE: Final = registered(
    "Unreachable",
    (MODEL_READY, PROFILED, PLACED, READY),
    "The model store, or the server that it fetches the file from, does not answer.",
    f"{WAIT} If it stays, check the pod and the Service of the model store and the network.",
)
BAD_REQUEST: Final = registered(
    "BadRequest",
    (MODEL_READY, PROFILED, PLACED, READY),
    "The model store cannot use an argument, such as validation data of the wrong shape.",
    "Correct the field that the message names.",
)
BAD_TENSOR: Final = registered(
    "BadTensor",
    (MODEL_READY, PLACED, READY),
    "A tensor does not have the name, datatype or shape that the model declares.",
    "Correct the tensor that the message names.",
)
BAD_ANSWER: Final = registered(
    "BadAnswer",
    (MODEL_READY, PROFILED, PLACED),
    "The model store answered with a document that this version of the operator cannot read.",
    "Run the same version of the operator and the model store.",
)
UNAUTHENTICATED: Final = registered(
    "Unauthenticated",
    (MODEL_READY, PROFILED, PLACED),
    "The model store does not accept the operator's token.",
    "Check that the store's --operator-account names the operator's ServiceAccount, and read its log.",
)
FORBIDDEN: Final = registered(
    "Forbidden",
    (MODEL_READY, PROFILED, PLACED),
    "The operator's account lacks this right at the model store.",
    "Name the operator's ServiceAccount with the store's --operator-account.",
)
STORE_FAILED: Final = registered(
    "StoreFailed",
    (MODEL_READY, PROFILED, PLACED),
    "The model store failed for a reason that this version of the operator does not know.",
    "Read the message, and the log of the model store.",
)

MEASURED: Final = registered("Measured", (PROFILED,), "The model is measured on all device classes.", NOTHING)
ESTIMATED: Final = registered(
    "Estimated",
    (PROFILED,),
    "The plan uses times that are estimated from the operators of other models on the device class, until "
    "the model is measured there.",
    "Wait: the measurement, which the message names, replaces the estimate.",
)
PROFILING: Final = registered(
    "Profiling",
    (PROFILED,),
    "A Job is measuring the model on a node of a device class, or waits for another measurement there.",
    "Wait: it takes a minute or two for each device class.",
)
PROFILING_FAILED: Final = registered(
    "ProfilingFailed",
    (PROFILED,),
    "The profiling Job failed or cannot start; the message has the cause, and the time of the next attempt.",
    "Fix the cause. The Job is retried with backoff, or at once if you delete it.",
)
PROFILE_INCOMPLETE: Final = registered(
    "ProfileIncomplete",
    (PROFILED,),
    "The model store lacks measurements of some exits, although they were measured.",
    "Wait: they are measured again with backoff, or at once if you delete the Job that the message names.",
)
NO_NODE_TO_PROFILE: Final = registered(
    "NoNodeToProfile",
    (PROFILED,),
    "No Ready node has the labels of a device class that has to be measured.",
    "Label a node as the nodeSelector in the DevicePool says, or bring one back.",
)

PLANNED_AS_ASKED: Final = registered(
    "Planned", (PLANNED,), "Every entry node has a route that meets the SLO at some bandwidth.", NOTHING
)
MEASURING_CODECS: Final = registered(
    "MeasuringCodecs",
    (PLANNED,),
    "Every entry node has a route; the model store still measures the accuracy with codecs, so hops "
    "use fp32.",
    "Wait: the plan is updated when the measurement is complete.",
)
SLO_OUT_OF_REACH: Final = registered(
    "SLOOutOfReach",
    (PLANNED,),
    "No route meets spec.slo.latency at any bandwidth at some entry node, or requests are late there because "
    "of those of other services; the fastest routes are used.",
    "Raise spec.slo.latency to the nearest feasible latency in the message, or use a faster device class. If "
    "the message names other services, set spec.load.rate to have room reserved, or add nodes.",
)
INFEASIBLE: Final = registered(
    "Infeasible",
    (PLANNED,),
    "At some entry node, no route meets the SLO with the accuracy that spec.slo.minAccuracy requires, or the "
    "mode has no route. The others get their routes.",
    "Apply what the message proposes; `ei explain` shows every alternative.",
)
DOES_NOT_FIT: Final = registered(
    "DoesNotFit",
    (PLANNED,),
    "The pool has too little left of a resource for this service: cpu, memory, uplink or Triton's time.",
    "Apply what the message proposes: a lower spec.load.rate, another SLO or accuracy, a higher "
    "spec.priority, fewer services, or a larger pool.",
)
DEVICE_POOL_NOT_FOUND: Final = registered(
    "DevicePoolNotFound",
    (PLANNED, TENANT_READY),
    "There is no DevicePool with the name in spec.devicePool, or in spec.pools of a Tenant.",
    "Correct the name, or create the pool.",
)
NOTHING_TO_OPTIMIZE: Final = registered(
    "NothingToOptimize",
    (PLANNED,),
    "spec.optimize requires prices, watts or radio that the DevicePool does not declare.",
    "Set the fields of the DevicePool that the message names, or choose another spec.optimize.",
)
BAD_DEVICE_POOL: Final = registered(
    "BadDevicePool",
    (PLANNED,),
    "The operator cannot use a value in the DevicePool.",
    "Correct the field of the DevicePool that the message names.",
)
NO_CERTIFICATES: Final = registered(
    "NoCertificates",
    (PLANNED, POOL_READY),
    "A Triton server has scheme HTTPS, and the operator or the runtimes have no certificates.",
    "Set operator.tlsSecret and runtime.tlsSecret of the chart, or use scheme HTTP.",
)
NAME_TAKEN: Final = registered(
    "NameTaken",
    (PLANNED, POOL_READY),
    "A Triton server of the pool has the name of a node, so a route could not tell them apart.",
    "Rename the server in spec.tritonServers of the DevicePool.",
)
NO_NODES: Final = registered(
    "NoNodes",
    (PLANNED, POOL_READY),
    "A nodeSelector of the DevicePool selects no node.",
    "Label a node so, or change the selector.",
)
NO_ENTRY_NODES: Final = registered(
    "NoEntryNodes",
    (PLANNED,),
    "spec.entryNodes selects no node of the pool, or the entry nodes belong to older pools.",
    "Label a node so, change the selector, or use the pool that the message names.",
)
BAD_PROFILE: Final = registered(
    "BadProfile",
    (PLANNED,),
    "The ModelProfile lacks a part of the model or holds times that cannot be right.",
    "Delete the ModelProfile: it is rebuilt from what the model store has, or measured again.",
)
CANNOT_PLAN: Final = registered(
    "CannotPlan",
    (MODEL_READY, PLANNED),
    "Planning failed for a cause that no manifest is known to have.",
    "Report it with the log of the operator.",
)

PUBLISHED: Final = registered("Published", (PLACED,), "Every entry node has its route table.", NOTHING)
TRITON_UNREACHABLE: Final = registered(
    "TritonUnreachable",
    (PLACED,),
    "A Triton server of the service does not answer; entry nodes use their local routes, and "
    "after 30 s another server of the pool.",
    f"{WAIT} If it stays, check Triton and httpAddress in the DevicePool.",
)
TRITON_BUSY: Final = registered(
    "TritonBusy",
    (PLACED,),
    "The Triton server is loading models. Published routes keep serving; new entry nodes use local routes.",
    WAIT,
)
TRITON_UNTRUSTED: Final = registered(
    "TritonUntrusted",
    (PLACED,),
    "TLS with the proxy in front of Triton fails because of a certificate.",
    "Check the certificate of the proxy and the Secret that operator.tlsSecret of the chart names.",
)
CONTROL_DENIED: Final = registered(
    "ControlDenied",
    (PLACED,),
    "The Triton server restricts model control, and the operator has no key or another one. Published routes "
    "keep serving; new entry nodes use local routes.",
    "Name a Secret with the server's key in controlSecret of the server in the DevicePool, and list it in "
    "operator.tritonControlSecrets of the chart.",
)
CONTROL_WITHOUT_KEY: Final = registered(
    "ControlWithoutKey",
    (POOL_CONTROL,),
    "A Triton server accepts model control without a key, so any client that reaches it can run code on it.",
    "Start it with --http-restricted-api and --grpc-restricted-protocol for model-repository, and name a "
    "Secret with the key in controlSecret.",
)
CONTROL_NEEDS_KEY: Final = registered(
    "ControlNeedsKey",
    (POOL_CONTROL,),
    "Triton servers require a key for model control, over the protocols that the message names.",
    NOTHING,
)
TRITON_FULL: Final = registered(
    "TritonFull",
    (PLACED,),
    "Tails of the service do not fit into the memory that the DevicePool declares for the Triton server. "
    "The routes without them are used.",
    "Raise spec.tritonServers[].memory of the DevicePool if the server has more, or remove services.",
)
TAIL_REFUSED: Final = registered(
    "TailRefused",
    (PLACED,),
    "Triton cannot load or unload a slice.",
    "Fix what the message quotes from Triton; it must run with --model-control-mode=explicit.",
)
OBJECT_REFUSED: Final = registered(
    "ObjectRefused",
    (MODEL_READY, PROFILED, PLACED, EVENT),
    "The API server refuses an object of the service, or an object with its name belongs to something else. "
    "An event has it if a status is refused.",
    "Fix what the message says: a quota, a permission, a policy, a name. It is retried with backoff.",
)
