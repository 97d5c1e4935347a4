"""Checks of services and of their pods. Pure."""

from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError

from edge_api import Placement, reasons
from edge_api.earlier import in_this_version
from edge_cli.doctor.findings import Check, Found, at
from edge_cli.doctor.states import PART_OF, QUOTAS, ClusterState, condition_of, labels
from edge_operator.cluster import DEPLOYMENTS, EVENTS, INFERENCE_SERVICES, PLACEMENTS, PODS, Object
from edge_operator.names import MANAGED_BY
from edge_operator.pool.pod_troubles import cannot_start, deployment_trouble, pod_trouble

_QUOTA: Final = "exceeded quota"
_STEPS: Final = (reasons.MODEL_READY, reasons.PROFILED, reasons.PLANNED, reasons.PLACED)


def _ours(body: Object) -> bool:
    found = labels(body)
    return found.get(PART_OF[0]) == PART_OF[1] or MANAGED_BY.items() <= dict(found).items()


def _no_image(state: ClusterState) -> Iterator[Found]:
    for body in state.of(PODS):
        if _ours(body) and cannot_start(body):
            node = body["spec"].get("nodeName") or "no node yet"
            images = ", ".join(sorted({each["image"] for each in body["spec"].get("containers") or ()}))
            yield at(body, f"on {node}: {pod_trouble(body)} (image {images})")


def _over_quota(state: ClusterState) -> Iterator[Found]:
    told = set()
    for body in state.of(DEPLOYMENTS):
        said = deployment_trouble(body) if body["metadata"]["namespace"] in state.own_namespaces else ""
        if _QUOTA in said:
            told.add(body["metadata"]["namespace"])
            yield at(body, said.partition(": ")[2])
    for body in state.of(INFERENCE_SERVICES):
        for each in (body.get("status") or {}).get("conditions") or ():
            namespace = body["metadata"]["namespace"]
            if _QUOTA in str(each.get("message")) and namespace not in told:
                told.add(namespace)
                yield at(body, f"condition {each['type']}: {each['message']}")
    for event in state.of(EVENTS):
        namespace = event["metadata"].get("namespace", "")
        if _QUOTA in str(event.get("message")) and namespace in state.own_namespaces - told:
            told.add(namespace)
            regarding = event.get("involvedObject") or {}
            yield Found(f"{regarding.get('kind')} {namespace}/{regarding.get('name')}: {event['message']}")


def _not_planned(state: ClusterState) -> Iterator[Found]:
    for body in state.of(INFERENCE_SERVICES):
        found = (condition_of(body, name) for name in _STEPS)
        wrong = next((each for each in found if each.get("status") == "False"), None)
        if wrong is not None and wrong.get("reason") != reasons.SUSPENDED:
            known = reasons.REASONS.get(str(wrong.get("reason")))
            fix = known.fix if known is not None else ""
            yield at(
                body, f"{wrong['type']} is False, {wrong.get('reason')}: {wrong.get('message', '')}", fix
            )


def _missed(state: ClusterState) -> Iterator[Found]:
    for body in state.of(INFERENCE_SERVICES):
        met = condition_of(body, reasons.SLO_MET)
        if met.get("status") == "False":
            yield at(body, str(met.get("message", "")))


def _not_answering(state: ClusterState) -> Iterator[Found]:
    for body in state.of(INFERENCE_SERVICES):
        ready, planned = condition_of(body, reasons.READY), condition_of(body, reasons.PLACED)
        if ready.get("status") == "False" and planned.get("status") == "True":
            yield at(body, f"Ready is False, {ready.get('reason')}: {ready.get('message', '')}")


def _late_first_requests(state: ClusterState) -> Iterator[Found]:
    for body in state.of(PLACEMENTS):
        try:
            placement = Placement.model_validate(in_this_version(body))
        except ValidationError:
            continue
        took = placement.status.load_time if placement.status is not None else None
        latency = placement.spec.slo.latency
        if placement.spec.idle is not None and took is not None and took > latency:
            yield at(
                body,
                f"at {placement.spec.node}, the last request to idle service {placement.spec.service} waited "
                f"{took} until its model was loaded, and slo.latency is {latency}",
            )


def _returned(state: ClusterState) -> Iterator[Found]:
    for body in state.of(INFERENCE_SERVICES):
        rolled = condition_of(body, reasons.ROLLED_OUT)
        if rolled.get("status") == "False":
            known = reasons.REASONS.get(str(rolled.get("reason")))
            yield at(body, f"{rolled.get('reason')}: {rolled.get('message', '')}", known.fix if known else "")


def _former_runtimes(state: ClusterState) -> Iterator[Found]:
    for body in state.of(INFERENCE_SERVICES):
        updated = condition_of(body, reasons.RUNTIMES_UPDATED)
        if updated.get("status") == "False":
            yield at(body, f"{updated.get('reason')}: {updated.get('message', '')}")


def _no_services(state: ClusterState) -> str:
    return "" if state.of(INFERENCE_SERVICES) else "there is no InferenceService"


CHECKS: Final = (
    Check(
        "EI0501",
        "services",
        "error",
        "the images of all pods are there",
        "The pod does not start: the entry node answers nothing, or the model is not measured.",
        "Push the image to a registry that the node can pull from, load it onto the node, or correct "
        "runtime.image and imagePullSecrets of the chart.",
        _no_image,
        reads=(PODS,),
    ),
    Check(
        "EI0502",
        "services",
        "error",
        "no ResourceQuota is in the way",
        "The API server refuses pods of runtimes, or the objects that the operator makes in the namespace.",
        "Raise the ResourceQuota that the message names, or lower runtime.resources of the chart.",
        _over_quota,
        reads=(DEPLOYMENTS, QUOTAS),
    ),
    Check(
        "EI0503",
        "services",
        "error",
        "the services are planned and placed",
        "The service has no routes, or keeps older ones.",
        "Do what the message says; `ei explain SERVICE` shows the plan.",
        _not_planned,
        reads=(INFERENCE_SERVICES,),
        skip=_no_services,
    ),
    Check(
        "EI0504",
        "services",
        "warning",
        "the services meet their SLOs",
        "More requests are late than spec.slo.objective allows.",
        "Run `ei explain SERVICE` for what limits its plan at the entry node that the message names.",
        _missed,
        reads=(INFERENCE_SERVICES,),
        skip=_no_services,
    ),
    Check(
        "EI0505",
        "services",
        "error",
        "the placed services answer requests",
        "Requests fail at entry nodes whose runtimes do not serve.",
        "Do what the message says, and read the events of the runtime's pods.",
        _not_answering,
        reads=(INFERENCE_SERVICES,),
        skip=_no_services,
    ),
    Check(
        "EI0506",
        "services",
        "warning",
        "first requests to idle services meet the SLO",
        "The first request after a time without requests is answered late.",
        "Raise spec.scaling.idleAfter or spec.slo.latency, or set idleMemory for the nodes in the pool.",
        _late_first_requests,
        reads=(PLACEMENTS,),
        skip=_no_services,
    ),
    Check(
        "EI0507",
        "services",
        "warning",
        "the services serve the models that their specs name",
        "A new revision of the model failed, so that the former one serves.",
        "Set spec.model to a revision that works; `ei rollout SERVICE` shows the cause.",
        _returned,
        reads=(INFERENCE_SERVICES,),
        skip=_no_services,
    ),
    Check(
        "EI0508",
        "services",
        "warning",
        "the runtimes have the installed version",
        "Services fared worse with the new version of the runtimes at a node, so that the former one serves.",
        "Read the logs of the runtimes and install another version; `ei rollout SERVICE` shows the cause.",
        _former_runtimes,
        reads=(INFERENCE_SERVICES,),
        skip=_no_services,
    ),
)
