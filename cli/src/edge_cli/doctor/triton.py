"""Checks of Triton servers. Pure."""

import re
from collections.abc import Iterator
from typing import Final

from edge_api import reasons
from edge_cli.doctor.findings import Check, Found, at
from edge_cli.doctor.states import ClusterState, ServerSeen, condition_of
from edge_operator.cluster import DEVICE_POOLS, INFERENCE_SERVICES, Object
from edge_operator.tritons.tail_models import is_ours

_FALSE: Final = {"false", "0", "no", "off"}


def flag(arguments: tuple[str, ...], name: str) -> str | None:
    """Returns the value of a flag of tritonserver, also inside a shell command; None if it is not given."""
    found = re.findall(rf"--{re.escape(name)}(?:[= ]+([^\s'\"]+))?", " ".join(arguments))
    return None if not found else str(found[-1]) or "true"


def _said(server: ServerSeen, message: str, pool: Object | None) -> Found:
    return Found(f"DevicePool {server.pool}: Triton server {server.name} {message}", regarding=pool)


def _pool(state: ClusterState, server: ServerSeen) -> Object | None:
    return state.named(DEVICE_POOLS, "", server.pool)


def _unreachable(state: ClusterState) -> Iterator[Found]:
    silent = [server for server in state.servers if server.reachable is False]
    for server in silent:
        yield _said(server, f"at {server.url} does not respond: {server.said}", _pool(state, server))
    for body in state.of(INFERENCE_SERVICES):
        placed = condition_of(body, reasons.PLACED)
        if placed.get("reason") == reasons.TRITON_UNREACHABLE and not silent:
            yield at(body, f"the operator reports {placed['reason']}: {placed.get('message', '')}")


def _not_explicit(state: ClusterState) -> Iterator[Found]:
    for server in state.servers:
        if server.arguments is None:
            continue
        mode = flag(server.arguments, "model-control-mode") or "none"
        if mode != "explicit":
            yield _said(server, f"runs with --model-control-mode={mode}", _pool(state, server))


def _strict(state: ClusterState) -> Iterator[Found]:
    for server in state.servers:
        if server.arguments is None:
            continue
        strict = flag(server.arguments, "strict-readiness")
        if strict is None or strict.lower() not in _FALSE:
            given = "" if strict is None else f"={strict}"
            default = ", which is its default" if strict is None else ""
            said = f"runs with --strict-readiness{given}{default}"
            yield _said(server, said, _pool(state, server))


def _foreign(state: ClusterState) -> Iterator[Found]:
    for server in state.servers:
        for model, parameters in sorted(server.marks.items()):
            named_ours = model.startswith(f"edge-{state.installation}-")
            if named_ours and not is_ours(model, parameters, state.installation):
                owner = parameters.get("owner")
                whose = f"the mark of {owner}" if owner else "no mark"
                yield _said(
                    server,
                    f"has model {model} with {whose}, not of {state.installation}",
                    _pool(state, server),
                )


def _open(state: ClusterState) -> Iterator[Found]:
    named = set()
    for server in state.servers:
        if server.control_open:
            named.add(server.pool)
            yield _said(server, "accepts model control without a key", _pool(state, server))
    for body in state.of(DEVICE_POOLS):
        control = condition_of(body, reasons.CONTROL_OPEN)
        if control.get("status") == "True" and body["metadata"]["name"] not in named:
            yield at(body, str(control.get("message", "")))


def _no_arguments(state: ClusterState) -> str:
    if not state.servers:
        return "no DevicePool lists a Triton server"
    known = any(server.arguments is not None for server in state.servers)
    return "" if known else "no Triton server runs in a pod of this cluster that this account can read"


def _no_servers(state: ClusterState) -> str:
    return "" if state.servers else "no DevicePool lists a Triton server"


def _no_marks(state: ClusterState) -> str:
    if not state.servers:
        return "no DevicePool lists a Triton server"
    reached = any(server.reachable for server in state.servers) and state.installation
    return "" if reached else "no Triton server can be called from here"


CHECKS: Final = (
    Check(
        "EI0301",
        "triton",
        "error",
        "the Triton servers respond",
        "Entry nodes use their local routes, at a lower accuracy or a higher latency.",
        "Check the pods of Triton, and httpAddress of the server in the DevicePool.",
        _unreachable,
        reads=(DEVICE_POOLS, INFERENCE_SERVICES),
        skip=_no_servers,
    ),
    Check(
        "EI0302",
        "triton",
        "error",
        "the Triton servers run with explicit model control",
        "Triton then refuses to load tails (reason TailRefused).",
        "Start Triton with --model-control-mode=explicit.",
        _not_explicit,
        reads=(DEVICE_POOLS,),
        skip=_no_arguments,
    ),
    Check(
        "EI0303",
        "triton",
        "error",
        "the Triton servers run without strict readiness",
        "Triton permanently reports itself as not ready after any model was unloaded or failed to load; "
        "Kubernetes then removes the pod from its Service.",
        "Start Triton with --strict-readiness=false.",
        _strict,
        reads=(DEVICE_POOLS,),
        skip=_no_arguments,
    ),
    Check(
        "EI0304",
        "triton",
        "error",
        "every model with a name of this installation has its mark",
        "A model that another client loaded under the name of a tail is neither used nor replaced.",
        "Unload the model in Triton, or restart Triton; then the operator loads its own.",
        _foreign,
        reads=(DEVICE_POOLS,),
        skip=_no_marks,
    ),
    Check(
        "EI0305",
        "triton",
        "error",
        "model control requires a key",
        "Any client that reaches Triton can load a Python model, which is code, and run it there.",
        "Start Triton with --http-restricted-api and --grpc-restricted-protocol for model-repository, and "
        "name a Secret with the key in controlSecret of the server (docs/triton.md#restrict-model-control).",
        _open,
        reads=(DEVICE_POOLS,),
        skip=_no_servers,
    ),
)
