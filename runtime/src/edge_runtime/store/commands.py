"""`edge-runtime store put` and `ls`, and the flags of `edge-runtime fetch`."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_runtime.store.client import Access

_CHUNK: Final = 1 << 20
_ACTIONS: Final = "action"


def add_commands(store: argparse.ArgumentParser) -> None:
    """Adds the commands to `edge-runtime store`, which without one runs a store."""
    commands = store.add_subparsers(dest=_ACTIONS, metavar="{put,ls}")
    put = commands.add_parser("put", help="upload a file to a model store")
    put.add_argument("file", type=Path, help="the file, such as an .onnx model")
    put.add_argument("--name", help="name in the store, for store://NAME (default: the file's name)")
    listing = commands.add_parser("ls", help="list the files of a namespace in a model store")
    for command in (put, listing):
        add_access(command)


def add_access(command: argparse.ArgumentParser) -> None:
    """Adds the flags that say how a store is reached."""
    url = os.environ.get("EDGE_STORE")
    command.add_argument(
        "--store",
        default=url,
        required=url is None,
        metavar="URL",
        help="address of the model store, such as https://model-store.edge-intelligence.svc:8080 "
        "[$EDGE_STORE]",
    )
    command.add_argument(
        "--store-token-file",
        type=Path,
        default=os.environ.get("EDGE_STORE_TOKEN_FILE") or None,
        metavar="FILE",
        help="ServiceAccount token with audience edge-model-store (default: $EDGE_STORE_TOKEN, or none) "
        "[$EDGE_STORE_TOKEN_FILE]",
    )
    command.add_argument(
        "--ca-file",
        type=Path,
        metavar="FILE",
        help="CA certificate of the store (default: $EDGE_STORE_CA in PEM, or those of the system)",
    )
    command.add_argument(
        "--store-tls-dir",
        type=Path,
        metavar="DIR",
        help="folder with ca.crt, tls.crt and tls.key, for a store that requires certificates of its clients",
    )
    command.add_argument(
        "--connect-to",
        default="",
        metavar="HOST[:PORT]",
        help="connect there instead, such as to a forwarded port (default: the host of --store)",
    )


def add_fetch(fetch: argparse.ArgumentParser) -> None:
    """Adds the flags of `edge-runtime fetch`."""
    fetch.add_argument("--source", required=True, metavar="URI", help="address of the file")
    fetch.add_argument("--field", default="model", help="field of the manifest, for messages")
    fetch.add_argument("--name", required=True, help="name of the file in the store")
    fetch.add_argument("--digest", help="SHA-256 digest that the file must have, as sha256:…")
    fetch.add_argument("--secret-dir", type=Path, help="folder with the keys of the Secret as files")
    fetch.add_argument("--volume", type=Path, help="where the claim of a pvc:// address is mounted")
    fetch.add_argument(
        "--with-data", action="store_true", help="also store the external data that an ONNX file pins"
    )
    fetch.add_argument(
        "--allow-internal", action="append", default=[], metavar="HOST|CIDR", help="as in store"
    )
    fetch.add_argument("--plain-http", action="append", default=[], metavar="HOST[:PORT]", help="as in store")
    add_access(fetch)


def access_of(arguments: argparse.Namespace) -> Access:
    """Returns what the flags say. Raises BadRequest for a file that cannot be read."""
    from edge_runtime.errors import BadRequest
    from edge_runtime.store.client import Access

    authority = os.environ.get("EDGE_STORE_CA") or None
    if arguments.ca_file is not None:
        try:
            authority = arguments.ca_file.read_text()
        except OSError as error:
            raise BadRequest(f"--ca-file {arguments.ca_file}: cannot be read ({error.strerror})") from error
    return Access(
        arguments.store,
        arguments.store_token_file,
        authority,
        arguments.store_tls_dir,
        arguments.connect_to,
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs one of the commands."""
    from edge_runtime.store.client import StoreClient

    client = StoreClient(access_of(arguments))
    try:
        if arguments.action == "put":
            sys.stdout.write(put(client, arguments.file, arguments.name or arguments.file.name) + "\n")
        else:
            sys.stdout.writelines(f"{file['size']:>12}  store://{file['name']}\n" for file in client.files())
    finally:
        client.close()
    return 0


def put(client: object, path: Path, name: str) -> str:
    """Uploads a file. Returns its address and its digest, as a manifest has them."""
    from edge_runtime.errors import BadRequest
    from edge_runtime.store.client import Sending, StoreClient
    from edge_runtime.store.progress import ProgressBar

    assert isinstance(client, StoreClient)
    try:
        with path.open("rb") as file, ProgressBar(f"upload {path.name}") as bar:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            size = file.tell()
            sending = Sending(client, name, bar.update)
            file.seek(sending.begin(size, digest))
            while chunk := file.read(_CHUNK):
                sending.write(chunk)
            sending.end(digest)
    except OSError as error:
        raise BadRequest(f"{path}: cannot be read ({error.strerror}): name a file") from error
    return f"storageUri: store://{name}\ndigest: {digest}"
