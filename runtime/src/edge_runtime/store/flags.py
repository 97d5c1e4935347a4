"""The flags of `edge-runtime store` that decide who can call it, and what it may read."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.store.callers import Account, Callers


def add_flags(store: argparse.ArgumentParser) -> None:
    """Adds the flags to the command."""
    store.add_argument(
        "--tokens",
        action="store_true",
        help="require ServiceAccount tokens with audience edge-model-store, which the API server reviews; a "
        "namespace then sees what it uploaded and registered",
    )
    for flag, text in (
        ("--operator-account", "which acts for every namespace"),
        ("--profiler-account", "which reads models of all namespaces and stores profiles"),
    ):
        store.add_argument(
            flag,
            type=_account,
            action="append",
            default=[],
            metavar="NAMESPACE/NAME",
            help=f"with --tokens: ServiceAccount {text}; can be repeated (default: none)",
        )


def add_source_flags(store: argparse.ArgumentParser) -> None:
    """Adds the flags of what the store may read."""
    store.add_argument(
        "--shared-folder",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder whose files everyone may name as file://; can be repeated (default: none)",
    )
    store.add_argument(
        "--allow-internal",
        action="append",
        default=[],
        metavar="HOST|CIDR",
        help="host or network with internal addresses that a storageUri may name; can be repeated "
        "(default: none)",
    )
    store.add_argument(
        "--plain-http",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="registry of oci:// addresses that is called without TLS; can be repeated (default: none)",
    )


def callers_of(arguments: argparse.Namespace) -> Callers | None:
    """Returns the accounts that can call the store; None: all callers can.

    Raises Unreachable outside a pod.
    """
    if not arguments.tokens:
        return None
    return token_holders(arguments.operator_account, arguments.profiler_account)


def token_holders(operators: Collection[Account] = (), profilers: Collection[Account] = ()) -> Callers:
    """Returns callers whose tokens the API server reviews. Raises Unreachable outside a pod."""
    from edge_api.store_access import AUDIENCE
    from edge_runtime.api_server import api_server_url
    from edge_runtime.connections import Resolver
    from edge_runtime.errors import Unreachable
    from edge_runtime.store.callers import TokenHolders
    from edge_runtime.store.tokens import Tokens
    from edge_runtime.token_reviews import TokenReviews

    url = api_server_url()
    if url is None:
        raise Unreachable("--tokens: KUBERNETES_SERVICE_HOST is not set: run in a pod, or without --tokens")
    reviews = TokenReviews(AUDIENCE, url, Resolver())
    return TokenHolders(Tokens(reviews.review), operators, profilers)


def warn_if_open(callers: Callers | None) -> None:
    """Warns of a store that all callers can use."""
    if callers is None:
        logging.getLogger("store").warning(
            "--tokens is not set: any client that reaches this store reads and replaces all models"
        )


def _account(text: str) -> Account:
    from edge_runtime.store.callers import parsed_account

    try:
        return parsed_account(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
