"""The flags that say how a model store is reached, and those of `edge-runtime fetch`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.store.client import Access


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


def add_token(command: argparse.ArgumentParser) -> None:
    """Adds the flag of the token that a model store with --tokens requires."""
    command.add_argument(
        "--store-token-file",
        type=Path,
        default=os.environ.get("EDGE_STORE_TOKEN_FILE") or None,
        metavar="FILE",
        help="ServiceAccount token for the model store, read for each request (default: none) "
        "[$EDGE_STORE_TOKEN_FILE]",
    )
