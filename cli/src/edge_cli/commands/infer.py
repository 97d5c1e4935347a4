"""`ei infer`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_cli import connections
from edge_cli.errors import CommandError, ExitStatus
from edge_cli.flags import Context, Kubeconfig, Namespace, Output, Service, duration
from edge_cli.output import Format, show, table

if TYPE_CHECKING:
    from edge_cli.inference import Reply, TensorForm

Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="Call the service there. Default: a port of a runtime, forwarded through the API server.",
    ),
]
Node = Annotated[
    str | None, typer.Option("--at", metavar="NODE", help="Call the runtime of this entry node.")
]
CaFile = Annotated[
    Path | None, typer.Option("--ca-file", metavar="FILE", help="CA certificate of an https address.")
]
Timeout = Annotated[float, duration("--timeout", help="Time-out of a request.", default_text="30s")]


def infer(
    service: Service,
    *,
    image: Annotated[Path | None, typer.Option("--image", metavar="FILE", help="An image.")] = None,
    npy: Annotated[
        Path | None, typer.Option("--npy", metavar="FILE", help="An .npy file, or .npz by names of inputs.")
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option(
            "--json", metavar="TEXT|@FILE", help="Nested lists, or a whole request of the protocol."
        ),
    ] = None,
    input_name: Annotated[
        str | None, typer.Option("--input", metavar="NAME", help="Input that takes the image.")
    ] = None,
    scale: Annotated[float, typer.Option("--scale", help="Factor of pixels from 0 to 255.")] = 1 / 255,
    mean: Annotated[
        list[float] | None, typer.Option("--mean", help="Subtracted by channel; can be repeated.")
    ] = None,
    deviation: Annotated[
        list[float] | None, typer.Option("--std", help="Divided by, by channel; can be repeated.")
    ] = None,
    top: Annotated[int, typer.Option("--top", help="Highest values to show of a vector.", min=1)] = 5,
    address: Address = None,
    at: Node = None,
    ca_file: CaFile = None,
    timeout: Timeout = 30.0,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Sends one request to a service; shows its outputs, and the exit, cut and route that answered."""
    from edge_cli.feeds import Scaling, image_feed, json_feeds, numpy_feeds, request_document
    from edge_cli.inference import ServiceClient, reached

    if sum(each is not None for each in (image, npy, json_file)) != 1:
        raise CommandError("infer: give one of --image, --npy and --json", ExitStatus.USAGE)
    given = None if json_file is None else _text(json_file)
    here = None if address is not None else connections.connect(namespace, context, kubeconfig)
    with reached(here, service, address, at) as url:
        client = ServiceClient(url, service, timeout, ca_file)
        try:
            whole = None if given is None else request_document(given)
            if whole is not None:
                response = client.infer_document(whole)
                show(response, output, lambda: json.dumps(response, indent=2))
                return
            forms = client.inputs()
            if image is not None:
                form = _input(forms, input_name)
                scaling = Scaling(scale, tuple(mean or (0.0,)), tuple(deviation or (1.0,)))
                feeds = {form.name: image_feed(image, form, scaling)}
            elif npy is not None:
                feeds = numpy_feeds(npy, forms)
            else:
                feeds = json_feeds(given or "", forms)
            reply = client.infer(feeds)
        finally:
            client.close()
    show(document(reply), output, lambda: text(reply, top))


def document(reply: Reply) -> dict[str, Any]:
    """Returns a response as values of JSON."""
    return {
        "seconds": round(reply.seconds, 6),
        "parameters": dict(reply.parameters),
        "outputs": {name: array.tolist() for name, array in reply.outputs.items()},
    }


def text(reply: Reply, top: int) -> str:
    """Returns who answered, and the highest values of each output."""
    from edge_planning.choosing.sentences import seconds_text

    told = ", ".join(f"{key} {value}" for key, value in sorted(reply.parameters.items()))
    lines = [f"answered in {seconds_text(reply.seconds)}{f' by {told}' if told else ''}"]
    for name, array in reply.outputs.items():
        lines += ["", f"{name} {list(array.shape)}"]
        vector = array.reshape(-1)
        if vector.dtype.kind not in "fiu" or vector.size > 10_000:
            lines.append(f"  {vector[:top].tolist()}{' …' if vector.size > top else ''}")
            continue
        best = sorted(range(vector.size), key=lambda i: -float(vector[i]))[:top]
        lines.append(table(("INDEX", "VALUE"), [(str(i), f"{float(vector[i]):.6g}") for i in best]))
    return "\n".join(lines)


def _input(forms: Sequence[TensorForm], name: str | None) -> TensorForm:
    named: Mapping[str, TensorForm] = {form.name: form for form in forms}
    if name is None and len(forms) == 1:
        return forms[0]
    if name is not None and name in named:
        return named[name]
    raise CommandError(f"--input: name one of {', '.join(named)}", ExitStatus.USAGE)


def _text(given: str) -> str:
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--json {given}: cannot be read ({error})") from error
