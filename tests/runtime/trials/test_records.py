"""Verdicts on the disk are few, and complete or missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.trials import records
from edge_runtime.trials.records import Records
from edge_runtime.trials.verdicts import Outcome, Verdict


def test_a_verdict_outlives_the_process(tmp_path: Path) -> None:
    verdict = Verdict(Outcome.CRASHED, "SIGSEGV", 12.5, 2, findings={"rows": "kept"})
    Records(tmp_path / "trials").put("a", "sha256:1", verdict)
    assert Records(tmp_path / "trials").get("a") == verdict
    assert Records(tmp_path / "trials").get("b") is None


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"null", b'{"format": 99, "outcome": "Passed"}', b'{"format": 1}', b"\xff\x00"],
)
def test_a_damaged_file_is_nothing_known_and_goes(tmp_path: Path, damage: bytes) -> None:
    Records(tmp_path).put("a", "sha256:1", Verdict(Outcome.PASSED))
    (tmp_path / "a.json").write_bytes(damage)
    found = Records(tmp_path)
    assert found.get("a") is None
    found.keep_only({"sha256:1"})
    assert not list(tmp_path.iterdir())


def test_the_oldest_of_those_that_nothing_needs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST", 2)
    kept = Records(tmp_path)
    for age, name in enumerate(["oldest", "older", "new", "newest"]):
        kept.put(name, f"sha256:{name}", Verdict(Outcome.PASSED))
        os.utime(tmp_path / f"{name}.json", (age, age))
    kept.keep_only({"sha256:oldest"})
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["new", "newest", "oldest"]
    assert kept.get("older") is None


def test_where_nothing_can_be_written_verdicts_last_as_long_as_the_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = Records(tmp_path / "file")
    kept.put("a", "sha256:1", Verdict(Outcome.PASSED))
    assert kept.get("a") == Verdict(Outcome.PASSED)
    kept.remove("a")
    assert kept.get("a") is None


def test_a_file_deleted_at_the_same_time_does_not_keep_the_damaged_ones(tmp_path: Path) -> None:
    for number in range(20):  # in whatever order the disk lists them
        (tmp_path / f"gone{number}").symlink_to(tmp_path / "nowhere")
        (tmp_path / f"damaged{number}.json").write_text("{")
    Records(tmp_path).keep_only(set())
    assert not list(tmp_path.glob("*.json"))
