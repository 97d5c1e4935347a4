"""A unit with its files on a host that is mounted in a folder."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_runtime.cli import main
from edge_runtime.errors import CannotInstall
from edge_runtime.stand_in.installing import Place, install, remove
from edge_runtime.stand_in.runtime_files import RuntimeFiles, interpreter_of
from edge_runtime.stand_in.units import Unit
from messages import mentions

COMMAND = ("serve-node", "--after", "30s")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The root folder of a host with systemd and nft."""
    root = tmp_path / "host"
    (root / "etc" / "systemd" / "system").mkdir(parents=True)
    (root / "usr" / "sbin").mkdir(parents=True)
    (root / "usr" / "sbin" / "nft").touch()
    return root


@pytest.fixture
def place(host: Path) -> Place:
    return Place(host, Path("/var/lib/edge-runtime"), "edge-runtime")


def files(folder: Path, content: str = "print('one')") -> RuntimeFiles:
    """A program of one module, whose standard library is one file."""
    (folder / "site" / "edge_runtime").mkdir(parents=True)
    (folder / "site" / "edge_runtime" / "cli.py").write_text(content)
    (folder / "std").mkdir()
    (folder / "std" / "os.py").touch()
    return RuntimeFiles(Path(sys.executable).resolve(), folder / "std", (folder / "site",))


def starts(_: Place, __: Path) -> None:
    return


def put(place: Place, found: RuntimeFiles, arguments: Sequence[str] = COMMAND) -> Unit:
    return install(place, arguments, redirects=True, program="", files=found, check=starts)


def versions(place: Place) -> list[str]:
    return sorted(path.name for path in (place.host / "var/lib/edge-runtime/versions").iterdir())


def test_the_host_starts_the_copied_program(place: Place, tmp_path: Path) -> None:
    unit = put(place, files(tmp_path))
    home = f"/var/lib/edge-runtime/versions/{unit.version}"
    assert f"ExecStart={home}/bin/edge-runtime serve-node --after 30s --nft /usr/sbin/nft" in unit.text
    assert place.unit_file.read_text() == unit.text
    assert place.link.resolve() == place.unit_file
    assert (place.host / home.lstrip("/") / "bin" / "edge-runtime").stat().st_mode & 0o111


def test_a_second_installation_changes_nothing(place: Place, tmp_path: Path) -> None:
    found = files(tmp_path)
    put(place, found)
    before = {path: path.stat().st_mtime_ns for path in (place.host / "var").rglob("*")}
    put(place, found)
    assert {path: path.stat().st_mtime_ns for path in (place.host / "var").rglob("*")} == before


def test_a_new_version_replaces_the_old_one_with_its_files(place: Place, tmp_path: Path) -> None:
    old = put(place, files(tmp_path / "old"))
    new = put(place, files(tmp_path / "new", "print('three')"))
    assert new.version != old.version
    assert versions(place) == [new.version]
    assert new.version in place.unit_file.read_text()


def test_a_program_that_does_not_start_on_the_host_changes_no_unit(place: Place, tmp_path: Path) -> None:
    old = put(place, files(tmp_path / "old"))

    def fails(_: Place, home: Path) -> None:
        raise CannotInstall(f"{home}: the copied program does not start on the host: no loader")

    new = files(tmp_path / "new", "print('three')")
    with pytest.raises(CannotInstall, match="does not start on the host"):
        install(place, COMMAND, redirects=True, program="", files=new, check=fails)
    assert place.unit_file.read_text() == old.text
    assert old.version in versions(place)


def test_what_an_interrupted_copy_left_is_removed_by_the_next(place: Place, tmp_path: Path) -> None:
    left = place.host / "var/lib/edge-runtime/versions/.incoming-1.0-abc"
    left.mkdir(parents=True)
    unit = put(place, files(tmp_path))
    assert versions(place) == [unit.version]


def test_a_host_that_lacks_what_the_unit_needs_is_refused_before_anything_is_written(host: Path) -> None:
    place = Place(host, Path("/var/lib/edge-runtime"), "edge-runtime")
    (host / "usr" / "sbin" / "nft").unlink()
    with pytest.raises(CannotInstall, match="install the package nftables"):
        install(place, COMMAND, redirects=True, program="")
    (host / "etc" / "systemd" / "system").rmdir()
    with pytest.raises(CannotInstall, match="needs systemd"):
        install(place, COMMAND, redirects=True, program="")
    assert not (host / "var").exists()


def test_a_unit_of_another_program_is_neither_replaced_nor_removed(place: Place) -> None:
    place.unit_file.write_text("[Service]\nExecStart=/bin/true\n")
    with pytest.raises(CannotInstall, match=mentions("another program's unit", "--name")):
        install(place, COMMAND, redirects=True, program="")
    with pytest.raises(CannotInstall, match="another program's unit"):
        remove(place)
    assert place.unit_file.exists()


def test_a_removed_unit_leaves_nothing(place: Place, tmp_path: Path) -> None:
    before = sorted(place.host.rglob("*"))
    put(place, files(tmp_path))
    for _ in range(2):  # the second one finds nothing
        remove(place)
    left = set(place.host.rglob("*")) - set(before)
    assert {str(path.relative_to(place.host)) for path in left} <= {
        "etc/systemd/system/multi-user.target.wants", "var", "var/lib",
    }  # fmt: skip


def test_a_copy_runs_without_the_machines_python(tmp_path: Path) -> None:
    program = "import sys, ssl, json; print(sys.executable, sys.argv[1:], json.__file__)"
    site = files(tmp_path, program).packages
    library = Path(sysconfig.get_path("stdlib"))
    home = tmp_path / "home"
    RuntimeFiles(Path(sys.executable).resolve(), library, site).copy(home, home)
    done = subprocess.run(
        [home / "bin" / "edge-runtime", "a b"], env={}, capture_output=True, text=True, check=True
    )
    standard = home / "python" / "lib" / library.name / "json" / "__init__.py"
    assert done.stdout == f"{home / 'bin' / 'python'} ['a b'] {standard}\n"
    maps = subprocess.run(
        [home / "bin" / "python", "-c", "import ssl; print(open('/proc/self/maps').read())"],
        env={}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    loaded = {line.split()[5] for line in maps.splitlines() if len(line.split()) > 5 and ".so" in line}
    assert loaded
    assert all(Path(path).is_relative_to(home) for path in loaded)


def test_only_programs_with_a_loader_are_copied(tmp_path: Path) -> None:
    assert interpreter_of(Path(sys.executable).resolve()).exists()
    (tmp_path / "script").write_text("#!/bin/sh\n")
    with pytest.raises(CannotInstall, match=mentions("64 bits", "loader")):
        interpreter_of(tmp_path / "script")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--name", "a/b", "--", "serve", "/m.onnx"], '--name "a/b": write up to 100 letters'),
        (["--dir", "/", "--", "serve", "/m.onnx"], "--dir /: it is deleted with the unit"),
        ([], "COMMAND: missing: write -- and the command, serve or serve-node"),
        (["--", "run"], "COMMAND: missing: write -- and the command, serve or serve-node"),
        (["--", "serve", "m.onnx"], "m.onnx: a unit has no working folder: write an absolute path"),
    ],
)
def test_a_bad_command_is_refused(
    arguments: list[str], said: str, host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["install-unit", "--host", str(host), *arguments]) == 1
    assert said in capsys.readouterr().err
    assert list((host / "etc" / "systemd" / "system").iterdir()) == []


def test_the_command_of_a_unit_is_checked_as_if_it_were_run(host: Path) -> None:
    with pytest.raises(SystemExit):
        main(["install-unit", "--host", str(host), "--", "serve", "/m.onnx", "--no-such-flag"])
