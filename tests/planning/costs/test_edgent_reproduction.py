"""The command, plots, numbers and tables of docs/edgent.md agree."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "docs" / "images" / "edgent"
PLOTS = ("partitions", "exits", "exit-by-bandwidth", "exit-by-deadline", "methods")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fresh output of the page's command."""
    folder = tmp_path_factory.mktemp("edgent")
    command = [sys.executable, "-m", "benchmarks.edgent", "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    stated = json.loads(done.stdout.splitlines()[-1])
    assert stated["published"] == numbers(folder)["published"]
    return folder


def numbers(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "edgent.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every number of a nested value, by its path."""
    if isinstance(value, dict):
        return {k: v for name, part in value.items() for k, v in leaves(part, f"{path}/{name}").items()}
    if isinstance(value, list):
        return {k: v for n, part in enumerate(value) for k, v in leaves(part, f"{path}/{n}").items()}
    return {path: value}


def test_the_committed_numbers_are_what_the_command_finds(made: Path) -> None:
    assert leaves(numbers(COMMITTED)) == pytest.approx(leaves(numbers(made)), rel=1e-5)


@pytest.mark.parametrize("name", PLOTS)
def test_the_committed_plots_are_what_the_command_draws(made: Path, name: str) -> None:
    assert (COMMITTED / f"{name}.svg").read_bytes() == (made / f"{name}.svg").read_bytes(), (
        "run: .venv/bin/python -m benchmarks.edgent --out docs/images/edgent"
    )


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_small_and_on_the_page(name: str) -> None:
    assert (COMMITTED / f"{name}.svg").stat().st_size < 150_000
    assert f"(images/edgent/{name}.svg)" in (ROOT / "docs" / "edgent.md").read_text(encoding="utf-8")


def test_the_tables_of_the_page_hold_the_numbers_found(made: Path) -> None:
    found = numbers(made)
    ours, first = found["published"], found["first_deadline_kept"]
    loading, loaded = first["is loaded for each request"], first["stays loaded"]
    server = found["server_compute_by_exit"]
    together, partition, right_sizing = (
        f"{loading[name] * 1e3:.1f} ms" for name in ("Edgent", "partition only", "right-sizing only")
    )
    rows = [
        f"| {ours['device_only_loading']:.3f} s ({ours['device_only']:.3f} s if the model stays loaded)",
        f"| edge only, 1 Mbit/s | 0.123 s | {ours['edge_only_1_mbit']:.3f} s |",
        f"the server computes for {ours['server_compute'] * 1e3:.1f} ms (published: 7.5 ms)",
        f"| edge only, 50 kbit/s | 2.317 s | {ours['edge_only_50_kbit']:.3f} s |",
        f"yes: {together} together, {partition} by partitioning alone, {right_sizing} by right-sizing alone",
        f"no: {loaded['Edgent'] * 1e3:.1f} ms both together and by right-sizing alone |",
        f"{(server[4] - server[0]) * 1e3:.1f} ms ({server[0] * 1e3:.1f} to {server[4] * 1e3:.1f} ms)",
    ]
    columns = ("device_only_loading", "device_only", "edge_only_1_mbit", "edge_only_50_kbit")
    for name, figures in ({"ours": ours} | found["other_readings"]).items():
        rows.append(f"| {name} | " + " | ".join(f"{figures[column]:.3f} s" for column in columns) + " |")
    page = (ROOT / "docs" / "edgent.md").read_text(encoding="utf-8")
    assert [row for row in rows if row not in page] == []
    assert loaded["Edgent"] == loaded["right-sizing only"]
    at_300_ms = {name: exits[2] for name, exits in found["methods"]["stays loaded"].items()}
    assert (at_300_ms["Edgent"], at_300_ms["right-sizing only"], at_300_ms["partition only"]) == (3, 2, 0)


def test_more_bandwidth_never_selects_an_earlier_exit(made: Path) -> None:
    for by_deadline in numbers(made)["exit_by_bandwidth"].values():
        for exits in by_deadline.values():
            assert exits == sorted(exits)
            assert exits[-1] == 5


def test_a_looser_deadline_never_selects_an_earlier_exit(made: Path) -> None:
    for exits in numbers(made)["exit_by_deadline"].values():
        assert exits == sorted(exits)
        assert (exits[0], exits[-1]) == (0, 5)


def test_the_two_together_keep_a_deadline_that_neither_keeps_alone(made: Path) -> None:
    methods = numbers(made)["methods"]["is loaded for each request"]
    at_300_ms = {name: exits[2] for name, exits in methods.items()}
    assert at_300_ms == {
        "device only": 0,
        "edge only": 0,
        "partition only": 0,
        "right-sizing only": 0,
        "Edgent": 3,
    }


def test_no_method_is_more_accurate_in_time_than_edgent(made: Path) -> None:
    for methods in numbers(made)["methods"].values():
        for name, exits in methods.items():
            assert all(other <= best for other, best in zip(exits, methods["Edgent"], strict=True)), name
