"""System shared memory: regions of this node in which clients pass tensors without sending them.

A region is a file in a folder such as /dev/shm that a client created and registered by name, as in Triton's
shared memory extension.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_api.words import shown
from edge_runtime.errors import BadRequest

FOLDER: Final = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is on Linux
NO_CUDA: Final = "CUDA shared memory is not supported: use system shared memory, or send the data"
_OFF: Final = (
    "shared memory is off on this server: send the data, or start the server with --shared-memory, on a "
    "cluster by spec.nodes[].sharedMemory of the DevicePool"
)
_MOST_REGIONS: Final = 256
_LONGEST_NAME: Final = 255
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Slot:
    """A part of a region, for one tensor. offset: from the region's start, in bytes."""

    region: str
    offset: int
    size: int


class _Region:
    """A registered region. Closed when nothing refers to it, including arrays over its memory."""

    def __init__(self, name: str, key: str, offset: int, size: int, file: int, *, ours: bool) -> None:
        """ours: whether the file belongs to this process's user.

        Memory of others is read and written by calls, since a mapped file that its owner truncates ends the
        process that reads it.
        """
        self.name, self.key, self.offset, self.size = name, key, offset, size
        self._file = file
        self._memory = memoryview(mmap.mmap(file, offset + size)) if ours else None

    def __del__(self) -> None:
        os.close(self._file)

    def document(self) -> dict[str, Any]:
        """The region as in the extension's status."""
        return {"name": self.name, "key": self.key, "offset": self.offset, "byte_size": self.size}

    def read(self, slot: Slot, where: str) -> memoryview | bytes:
        start = self._start(slot, where)
        if self._memory is not None:
            return self._memory[start : start + slot.size]
        data = os.pread(self._file, slot.size, start)
        if len(data) < slot.size:
            raise self._shrunk(where)
        return data

    def write(self, slot: Slot, data: bytes | memoryview, where: str) -> None:
        if len(data) > slot.size:
            raise BadRequest(
                f"{where}.parameters.shared_memory_byte_size: {slot.size}, but the output has {len(data)} "
                f"bytes: give it at least that"
            )
        start = self._start(slot, where)
        if self._memory is not None:
            self._memory[start : start + len(data)] = data
        else:
            os.pwrite(self._file, data, start)

    def _start(self, slot: Slot, where: str) -> int:
        """Start of a slot in the file. Raises BadRequest if the slot is not in the region."""
        if slot.offset + slot.size > self.size:
            raise BadRequest(
                f"{where}.parameters: bytes {slot.offset} to {slot.offset + slot.size} exceed the "
                f"{self.size} bytes of shared memory region {shown(self.name)}"
            )
        if os.fstat(self._file).st_size < self.offset + self.size:
            raise self._shrunk(where)
        return self.offset + slot.offset

    def _shrunk(self, where: str) -> BadRequest:
        return BadRequest(
            f"{where}.parameters.shared_memory_region: the file of {shown(self.name)} is now smaller than "
            f"what was registered: register it again"
        )


class SharedMemory:
    """The registered regions of a process.

    folder: where the files of regions are; None: clients cannot register any. owners: user IDs other than
      this process's to which files may belong.
    """

    def __init__(self, folder: Path | None = None, owners: Collection[int] = ()) -> None:
        self._folder = folder
        self._ours = os.geteuid()
        self._owners = frozenset((self._ours, *owners))
        self._regions: dict[str, _Region] = {}

    def register(self, name: str, key: str, offset: int, size: int) -> None:
        """Adds a region of `size` bytes from `offset` in the file that `key` names.

        Raises BadRequest for a name in use, a key without a file in the folder or a file of another owner,
        and bytes beyond the file's end.
        """
        if self._folder is None:
            raise BadRequest(f"key: {shown(key)}: {_OFF}")
        if not name or len(name) > _LONGEST_NAME:
            raise BadRequest(f"name: {shown(name)} is not valid: use 1 to {_LONGEST_NAME} characters")
        if name in self._regions:
            raise BadRequest(f"name: {shown(name)} is registered already: unregister it first")
        if len(self._regions) >= _MOST_REGIONS:
            raise BadRequest(f"name: {_MOST_REGIONS} regions are registered: unregister one first")
        if size < 1 or offset < 0:
            raise BadRequest(f"byte_size: {size} at offset {offset} is not a part of a file: use at least 1")
        file, found = self._open(self._folder, key)
        try:
            if found.st_uid not in self._owners:
                raise BadRequest(
                    f"key: {shown(key)} belongs to user {found.st_uid}, whose regions are not accepted: "
                    f"start the server with --shared-memory-owner {found.st_uid}, on a cluster by "
                    f"spec.nodes[].sharedMemory.owners of the DevicePool"
                )
            if offset + size > found.st_size:
                raise BadRequest(
                    f"byte_size: {size} at offset {offset}, but {shown(key)} has {found.st_size} bytes"
                )
            region = _Region(name, key, offset, size, file, ours=found.st_uid == self._ours)
        except BaseException:
            os.close(file)
            raise
        self._regions[name] = region

    def unregister(self, name: str = "") -> None:
        """Removes a region, or all without a name; unknown names are ignored, as in Triton."""
        if name:
            self._regions.pop(name, None)
        else:
            self._regions.clear()

    def status(self, name: str = "") -> list[dict[str, Any]]:
        """All regions, or the one with the name. Raises BadRequest if it is not registered."""
        regions = [self._region(name, "name")] if name else self._regions.values()
        return [region.document() for region in regions]

    def read(self, slot: Slot, where: str) -> memoryview | bytes:
        """The bytes of a slot; without a copy if the region belongs to this process's user."""
        return self._region(slot.region, _named(where)).read(slot, where)

    def write(self, slot: Slot, data: bytes | memoryview, where: str) -> None:
        """Puts the bytes at a slot's start. Raises BadRequest if they do not fit."""
        self._region(slot.region, _named(where)).write(slot, data, where)

    def _region(self, name: str, field: str) -> _Region:
        found = self._regions.get(name)
        if found is None:
            fix = "register it first" if self._folder is not None else _OFF
            raise BadRequest(f"{field}: {shown(name)} is not a registered region: {fix}")
        return found

    def _open(self, folder: Path, key: str) -> tuple[int, os.stat_result]:
        """Opens the file of a key. Raises BadRequest for one that is not a file in the folder."""
        base = key.removeprefix("/")
        if not base or "/" in base or "\0" in base or base in (".", ".."):
            raise BadRequest(f"key: {shown(key)} is not a name of shared memory: write e.g. /camera-1")
        try:
            file = os.open(folder / base, _FLAGS)
        except OSError as error:
            raise BadRequest(
                f"key: {shown(key)} cannot be opened in {folder} ({error.strerror}): create it, "
                f"readable and writable by user {self._ours}"
            ) from error
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            os.close(file)
            raise BadRequest(f"key: {shown(key)} is not a regular file: create it by shm_open")
        return file, found


NO_SHARED_MEMORY: Final = SharedMemory()


def _named(where: str) -> str:
    return f"{where}.parameters.shared_memory_region"
