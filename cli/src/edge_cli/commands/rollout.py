"""`ei rollout`."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from edge_cli import connections
from edge_cli.errors import CommandError
from edge_cli.flags import Context, Kubeconfig, Namespace, Output, Service
from edge_cli.output import Format, show, write


class Verb(StrEnum):
    """What to do with a roll-out."""

    STATUS = "status"
    PROMOTE = "promote"
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"


def rollout(
    service: Service,
    verb: Annotated[
        Verb,
        typer.Argument(
            metavar="[VERB]",
            help="status shows it. promote serves the candidate without further steps. abort returns to the "
            "former model. pause stays at the present step, until resume. Default: status.",
            show_default=False,
        ),
    ] = Verb.STATUS,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Shows, promotes, aborts, pauses or resumes the roll-out of a service's model."""
    from edge_operator.cluster import INFERENCE_SERVICES

    here = connections.connect(namespace, context, kubeconfig)
    body = here.cluster.get(INFERENCE_SERVICES, here.namespace, service)
    where = f"InferenceService {here.namespace}/{service}"
    if body is None:
        raise CommandError(f"{where}: does not exist: see `ei status -A`")
    match verb:
        case Verb.STATUS:
            found = shown(body)
            show(found, output, lambda: described(where, found))
        case Verb.PROMOTE | Verb.ABORT:
            revision = candidate(where, body)
            here.cluster.annotate(INFERENCE_SERVICES, body, {annotation(verb): revision})
            write(f"{where}: {verb} of revision {revision} requested")
        case Verb.PAUSE | Verb.RESUME:
            here.cluster.replace(with_paused(where, body, paused=verb is Verb.PAUSE))
            write(f"{where}: spec.rollout.paused is {str(verb is Verb.PAUSE).lower()}")


def annotation(verb: Verb) -> str:
    """Returns the annotation by which the operator promotes or aborts."""
    from edge_api.rollouts import ABORT_ANNOTATION, PROMOTE_ANNOTATION

    return PROMOTE_ANNOTATION if verb is Verb.PROMOTE else ABORT_ANNOTATION


def candidate(where: str, body: dict[str, Any]) -> str:
    """Returns the name of the candidate. Raises CommandError if none is rolled out."""
    found = (body.get("status") or {}).get("rollout") or {}
    if found.get("phase") in (None, "Stable", "Returned") or not found.get("revision"):
        raise CommandError(f"{where}: no roll-out is under way: change spec.model to begin one")
    return str(found["revision"])


def with_paused(where: str, body: dict[str, Any], *, paused: bool) -> dict[str, Any]:
    """Returns the service with spec.rollout.paused. Raises CommandError for one without spec.rollout."""
    spec = body["spec"]
    if "rollout" not in spec:
        raise CommandError(f"{where}: spec.rollout is not set: without it, a model is replaced at once")
    return {**body, "spec": {**spec, "rollout": {**spec["rollout"], "paused": paused}}}


def shown(body: dict[str, Any]) -> dict[str, Any]:
    """Returns what the status of a service tells of its revisions, and of a new version of its runtimes."""
    status = body.get("status") or {}
    model, rollout = status.get("model") or {}, status.get("rollout") or {}
    conditions = status.get("conditions") or ()
    by_type: dict[str, dict[str, Any]] = {each["type"]: each for each in conditions}
    rolled, runtimes = by_type.get("RolledOut", {}), by_type.get("RuntimesUpdated", {})
    fields = ("revision", "step", "weight", "since", "compared", "agreed")
    return {
        "phase": model.get("phase"),
        "current": model.get("current"),
        "candidate": model.get("candidate"),
        **{name: rollout.get(name) for name in fields},
        "reason": rolled.get("reason"),
        "message": rolled.get("message"),
        "runtimes": runtimes.get("reason"),
        "runtimesMessage": runtimes.get("message"),
    }


def described(where: str, found: dict[str, Any]) -> str:
    """Returns the lines that people read."""
    lines = [where, *(f"{name}: {value}" for name, value in found.items() if value not in (None, 0))]
    return "\n".join(lines)
