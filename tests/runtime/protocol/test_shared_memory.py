"""Regions of shared memory: what may be registered, and what is read and written."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.errors import BadRequest
from edge_runtime.shared_memory.regions import SharedMemory, Slot

PAGE = os.sysconf("SC_PAGESIZE")
NOT_OURS = os.geteuid() + 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "camera").write_bytes(bytes(range(200)))
    return tmp_path


def open_files(folder: Path) -> list[Path]:
    """The files of the folder that this process has open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [found for link in links if (found := Path(os.path.realpath(link))).parent == folder]


@pytest.fixture
def memory(folder: Path) -> SharedMemory:
    return SharedMemory(folder)


@pytest.fixture
def others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SharedMemory]:
    """Regions in the folder as a process of another user sees them, which accepts some users' files."""

    def made(*owners: int) -> SharedMemory:
        monkeypatch.setattr(os, "geteuid", lambda: NOT_OURS)
        return SharedMemory(folder, owners)

    return made


def test_what_is_read_is_what_the_owner_wrote_last(memory: SharedMemory, folder: Path) -> None:
    memory.register("frame", "/camera", 10, 100)
    view = memory.read(Slot("frame", 5, 4), "inputs[0]")
    assert bytes(view) == bytes([15, 16, 17, 18])
    with (folder / "camera").open("r+b") as file:
        file.seek(15)
        file.write(b"abcd")
    assert bytes(view) == b"abcd", "the region was copied"


def test_what_is_written_arrives_at_the_owner(memory: SharedMemory, folder: Path) -> None:
    memory.register("scores", "camera", 100, 100)
    memory.write(Slot("scores", 20, 10), b"12345", "outputs[0]")
    assert (folder / "camera").read_bytes()[118:128] == bytes([118, 119]) + b"12345" + bytes([125, 126, 127])


def test_an_offset_need_not_be_that_of_a_page(memory: SharedMemory, folder: Path) -> None:
    (folder / "large").write_bytes(bytes(PAGE) + b"x" * 10)
    memory.register("tail", "large", PAGE + 3, 7)
    assert bytes(memory.read(Slot("tail", 0, 7), "inputs[0]")) == b"x" * 7


@pytest.mark.parametrize(
    "key", ["", "/", "..", "/../camera", "a/b", "nul\0", "missing", "folder", "link", "fifo"]
)
def test_a_key_without_a_file_in_the_folder_is_refused(memory: SharedMemory, folder: Path, key: str) -> None:
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(folder / "camera")
    os.mkfifo(folder / "fifo")
    with pytest.raises(BadRequest, match=r"^key: "):
        memory.register("frame", key, 0, 10)
    assert memory.status() == []
    assert open_files(folder) == []


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 201), (200, 1), (-1, 10), (0, 0), (0, -5), (1 << 62, 1 << 62)]
)
def test_bytes_beyond_the_file_are_refused(memory: SharedMemory, offset: int, size: int) -> None:
    with pytest.raises(BadRequest, match=r"^byte_size: "):
        memory.register("frame", "camera", offset, size)
    assert memory.status() == []


@pytest.mark.parametrize("slot", [Slot("frame", 0, 101), Slot("frame", 100, 1), Slot("frame", 1 << 62, 1)])
def test_bytes_beyond_the_region_are_refused(memory: SharedMemory, slot: Slot) -> None:
    memory.register("frame", "camera", 0, 100)
    with pytest.raises(BadRequest, match=r"inputs\[0\].parameters"):
        memory.read(slot, "inputs[0]")
    with pytest.raises(BadRequest, match=r"outputs\[0\].parameters"):
        memory.write(slot, b"", "outputs[0]")


def test_an_output_that_does_not_fit_changes_nothing(memory: SharedMemory, folder: Path) -> None:
    memory.register("scores", "camera", 0, 200)
    with pytest.raises(BadRequest, match="shared_memory_byte_size: 4, but the output has 5"):
        memory.write(Slot("scores", 0, 4), b"12345", "outputs[0]")
    assert (folder / "camera").read_bytes() == bytes(range(200))


def test_a_file_that_was_truncated_is_not_read(memory: SharedMemory, folder: Path) -> None:
    memory.register("frame", "camera", 0, 100)
    os.truncate(folder / "camera", 50)
    with pytest.raises(BadRequest, match="smaller than what was registered"):
        memory.read(Slot("frame", 0, 10), "inputs[0]")


def test_a_file_of_another_user_is_refused_unless_its_owner_is_allowed(
    others: Callable[..., SharedMemory],
) -> None:
    with pytest.raises(BadRequest, match=f"--shared-memory-owner {NOT_OURS - 1}"):
        others().register("frame", "camera", 0, 100)
    others(NOT_OURS - 1).register("frame", "camera", 0, 100)


def test_memory_of_another_user_is_copied(others: Callable[..., SharedMemory], folder: Path) -> None:
    memory = others(NOT_OURS - 1)
    memory.register("frame", "camera", 10, 100)
    read = memory.read(Slot("frame", 0, 4), "inputs[0]")
    memory.write(Slot("frame", 0, 4), b"wxyz", "outputs[0]")
    assert bytes(read) == bytes([10, 11, 12, 13])
    assert (folder / "camera").read_bytes()[10:14] == b"wxyz"
    os.truncate(folder / "camera", 12)
    with pytest.raises(BadRequest, match="smaller than what was registered"):
        memory.read(Slot("frame", 0, 4), "inputs[0]")


def test_a_name_is_registered_once_until_it_is_removed(memory: SharedMemory) -> None:
    memory.register("frame", "camera", 0, 100)
    with pytest.raises(BadRequest, match="is registered already"):
        memory.register("frame", "camera", 0, 50)
    assert memory.status("frame") == [{"name": "frame", "key": "camera", "offset": 0, "byte_size": 100}]
    memory.unregister("frame")
    memory.unregister("frame")
    memory.register("frame", "camera", 0, 50)
    memory.register("other", "camera", 0, 60)
    memory.unregister()
    assert memory.status() == []
    with pytest.raises(BadRequest, match=r"^name: .*not a registered region"):
        memory.status("frame")


def test_an_array_outlives_its_region(memory: SharedMemory) -> None:
    memory.register("frame", "camera", 0, 100)
    view = memory.read(Slot("frame", 0, 3), "inputs[0]")
    memory.unregister("frame")
    assert bytes(view) == bytes([0, 1, 2])


def test_files_of_removed_regions_are_closed(memory: SharedMemory, folder: Path) -> None:
    for _ in range(20):
        memory.register("frame", "camera", 0, 100)
        assert open_files(folder)
        memory.unregister("frame")
    # Under coverage, the frame of the last call is kept, and with it one region: its file and its memory.
    assert len(open_files(folder)) <= 2
