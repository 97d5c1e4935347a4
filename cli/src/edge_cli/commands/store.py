"""`ei put` and `ei ls`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_cli import connections
from edge_cli.errors import CommandError
from edge_cli.flags import Context, Kubeconfig, Namespace, Output
from edge_cli.output import Format, show, table

if TYPE_CHECKING:
    from edge_runtime.store.client import StoreClient

Account = Annotated[
    str,
    typer.Option(
        "--service-account", metavar="NAME", help="ServiceAccount of the namespace whose token is shown."
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", envvar="EDGE_STORE", help="Address of a store, in place of the cluster's."
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--store-token-file",
        metavar="FILE",
        envvar="EDGE_STORE_TOKEN_FILE",
        help="ServiceAccount token with audience edge-model-store, for --store.",
    ),
]
CaFile = Annotated[
    Path | None, typer.Option("--ca-file", metavar="FILE", help="CA certificate of the store, for --store.")
]
TlsDir = Annotated[
    Path | None,
    typer.Option(
        "--store-tls-dir",
        metavar="DIR",
        help="Folder with ca.crt, tls.crt and tls.key, for a store that requires certificates.",
    ),
]
ConnectTo = Annotated[
    str, typer.Option("--connect-to", metavar="HOST[:PORT]", help="Connect there instead of to --store.")
]


def put(
    model: Annotated[Path, typer.Argument(metavar="FILE", help="The file, such as MODEL.onnx.")],
    *,
    name: Annotated[
        str | None, typer.Option("--name", help="Name in the store. Default: the file's name.")
    ] = None,
    service_account: Account = "default",
    store: Store = None,
    store_token_file: TokenFile = None,
    ca_file: CaFile = None,
    store_tls_dir: TlsDir = None,
    connect_to: ConnectTo = "",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Uploads a model for services of the namespace; prints its storageUri and digest for the manifest.

    The store is reached through the API server, with a token of the namespace. An upload that broke off
    continues.
    """
    from edge_cli.uploads import put as upload

    if not model.is_file():
        raise CommandError(f"{model}: is not a file: name the model's file")
    with _reached(
        (store, store_token_file, ca_file, store_tls_dir, connect_to),
        (namespace, context, kubeconfig),
        service_account,
    ) as client:
        found = upload(client, model, name or model.name)
    document = {"storageUri": found.storage_uri, "digest": found.digest}
    show(document, output, lambda: "\n".join(f"{key}: {value}" for key, value in document.items()))


def ls(
    *,
    service_account: Account = "default",
    store: Store = None,
    store_token_file: TokenFile = None,
    ca_file: CaFile = None,
    store_tls_dir: TlsDir = None,
    connect_to: ConnectTo = "",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Lists the files of the namespace in the model store."""
    with _reached(
        (store, store_token_file, ca_file, store_tls_dir, connect_to),
        (namespace, context, kubeconfig),
        service_account,
    ) as client:
        files = client.files()
    found = [{"storageUri": f"store://{file['name']}", "size": file["size"]} for file in files]
    rows = [(str(each["storageUri"]), str(each["size"])) for each in found]
    show(found, output, lambda: table(("STORAGE URI", "BYTES"), rows, right=("BYTES",)))


@contextlib.contextmanager
def _reached(
    address: tuple[str | None, Path | None, Path | None, Path | None, str],
    cluster: tuple[str | None, str | None, Path | None],
    account: str,
) -> Iterator[StoreClient]:
    """Reaches the store at an address, or that of the cluster."""
    from edge_cli.uploads import store_at, store_of
    from edge_runtime.store.client import Access

    url, token, ca_file, folder, connect_to = address
    if url is None:
        with store_of(connections.connect(*cluster), account) as client:
            yield client
        return
    authority = os.environ.get("EDGE_STORE_CA") or None
    if ca_file is not None:
        try:
            authority = ca_file.read_text()
        except OSError as error:
            raise CommandError(f"--ca-file {ca_file}: cannot be read ({error.strerror})") from error
    with store_at(Access(url, token, authority, folder, connect_to)) as client:
        yield client
