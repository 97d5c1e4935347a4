"""The flags that let clients on this node register shared memory."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_runtime.errors import BadRequest
from edge_runtime.shared_memory.regions import FOLDER, NO_SHARED_MEMORY, SharedMemory


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; shared memory is off by default."""
    group = parser.add_argument_group("shared memory (docs/protocol.md)")
    group.add_argument(
        "--shared-memory",
        nargs="?",
        type=Path,
        const=FOLDER,
        metavar="DIR",
        help=f"let clients on this node register regions, which are files in DIR (without DIR: {FOLDER})",
    )
    group.add_argument(
        "--shared-memory-owner",
        type=int,
        action="append",
        default=[],
        metavar="UID",
        help="also accept regions of this user, which are copied; can be repeated (default: of the "
        "server's own user alone)",
    )


def memory_of(arguments: argparse.Namespace) -> SharedMemory:
    """The regions that the flags allow. Raises BadRequest for an owner without a folder or a wrong folder."""
    folder = arguments.shared_memory
    if folder is None:
        if arguments.shared_memory_owner:
            raise BadRequest("--shared-memory-owner: has no effect without --shared-memory: add it")
        return NO_SHARED_MEMORY
    if not folder.is_dir():
        raise BadRequest(f"--shared-memory {folder}: is not a folder: name one such as {FOLDER}")
    return SharedMemory(folder, arguments.shared_memory_owner)
