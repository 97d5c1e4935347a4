"""`ei wait`."""

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from edge_api.quantities import Duration
from edge_cli import connections
from edge_cli.errors import CommandError, ExitStatus
from edge_cli.flags import Context, Kubeconfig, Namespace, Service, duration
from edge_cli.output import write

_EVERY = 1.0
"""Seconds between two reads."""


def wait(
    service: Service,
    *,
    condition: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="CONDITION[=STATUS]",
            help="Condition of the service, such as Ready or SLOMet=True.",
        ),
    ] = "Ready",
    timeout: Annotated[float, duration("--timeout", help="How long to wait.", default_text="120s")] = 120.0,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Waits until a service has a condition for its present spec; exits with 5 if it gives up."""
    from edge_operator.cluster import INFERENCE_SERVICES

    here = connections.connect(namespace, context, kubeconfig)
    where = f"InferenceService {here.namespace}/{service}"
    write(
        awaited(
            lambda: here.cluster.get(INFERENCE_SERVICES, here.namespace, service),
            where,
            condition,
            timeout,
            time.monotonic,
            time.sleep,
        )
    )


def awaited(
    read: Callable[[], dict[str, Any] | None],
    where: str,
    condition: str,
    timeout: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> str:
    """Returns a sentence once the condition has its status for the present generation of the object.

    Raises CommandError if that takes longer than `timeout` seconds. An object that does not exist is awaited.
    """
    name, _, status = condition.partition("=")
    status, end = status or "True", clock() + timeout
    while True:
        body = read()
        found = _condition(body, name) if body is not None else None
        if body is not None and found is not None and found.get("status") == status and _fresh(body, found):
            return f"{where}: {name} is {status}"
        if clock() >= end:
            said = "does not exist" if body is None else _said(name, found)
            raise CommandError(
                f"{where}: {said} after {Duration(timeout)}: see `ei status`", ExitStatus.TIMED_OUT
            )
        sleep(min(_EVERY, max(end - clock(), 0.0)))


def _condition(body: dict[str, Any], name: str) -> dict[str, Any] | None:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == name), None)


def _fresh(body: dict[str, Any], condition: dict[str, Any]) -> bool:
    return int(condition.get("observedGeneration") or 0) >= int(body["metadata"].get("generation") or 0)


def _said(name: str, condition: dict[str, Any] | None) -> str:
    if condition is None:
        return f"has no condition {name}"
    reason, message = condition.get("reason") or "", condition.get("message") or ""
    return f"condition {name} is {condition.get('status')}, {reason}: {message}"
