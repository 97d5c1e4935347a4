"""What the README shows of the demo comes from the committed results of its two acts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from demo.overview import (
    PAGE,
    PICTURE,
    RESULT,
    ROOT,
    TENANTS_PICTURE,
    TENANTS_RESULT,
    main,
    picture,
    table,
)
from demo.reports import score
from demo.sharing.summaries import document, sentences
from sharing_results import sharing_result

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def result() -> Any:
    return json.loads((ROOT / RESULT).read_text())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in (PAGE, PICTURE, RESULT, TENANTS_PICTURE, TENANTS_RESULT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_readme_and_the_picture_show_the_committed_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", [PAGE, PICTURE, TENANTS_PICTURE])
def test_a_figure_that_was_changed_by_hand_is_found_and_written_again(checkout: Path, name: str) -> None:
    changed, text = checkout / name, (ROOT / name).read_text()
    changed.write_text(text.replace("100.0 %", "99.9 %").replace("94.8 %", "99.9 %"))
    assert main(["--root", str(checkout), "--check"]) == 1
    assert main(["--root", str(checkout)]) == 0
    assert changed.read_text() == text


def test_the_report_of_another_run_replaces_the_result(checkout: Path, result: Any) -> None:
    result["modes"]["Auto"] |= {"slo_attainment": 0.5, "phases": []}
    report = checkout / "report.json"
    report.write_text(json.dumps(result | {"switches": 3}))
    assert main(["--root", str(checkout), str(report)]) == 0
    committed = json.loads((checkout / RESULT).read_text())
    assert set(committed) == {"modes", "slo_s"}
    assert "phases" not in committed["modes"]["Auto"]
    page = (checkout / PAGE).read_text()
    assert "| 50.0 % |" in page
    assert "**RightSizingOnly**" in page  # now the best product


def test_a_run_of_the_second_act_alone_replaces_its_result_alone(checkout: Path) -> None:
    modes = (checkout / RESULT).read_text()
    tenants = document(sharing_result())
    report = checkout / "report.json"
    report.write_text(json.dumps({"modes": {}, "tenants": tenants}))
    assert main(["--root", str(checkout), str(report)]) == 0
    assert (checkout / RESULT).read_text() == modes
    assert json.loads((checkout / TENANTS_RESULT).read_text()) == json.loads(json.dumps(tenants))
    page = (checkout / PAGE).read_text()
    assert all(f"- {sentence}.\n" in page for sentence in sentences(tenants))
    assert "quiet: sends its declared rate" in (checkout / TENANTS_PICTURE).read_text()


def test_a_second_act_that_did_not_complete_is_not_committed(checkout: Path) -> None:
    before = (checkout / TENANTS_RESULT).read_text()
    report = checkout / "report.json"
    report.write_text(
        json.dumps({"modes": {}, "tenants": document(replace(sharing_result(), error="no memory"))})
    )
    assert main(["--root", str(checkout), str(report)]) == 0
    assert (checkout / TENANTS_RESULT).read_text() == before


def test_every_mode_has_a_bar_for_each_of_its_shares(result: Any) -> None:
    drawn = ElementTree.fromstring(picture(result))
    bars = [bar.attrib for bar in drawn.iter(f"{SVG}rect") if bar.get("x") == "150" and bar.get("y") != "16"]
    widths = sorted(float(bar["width"]) / 520 for bar in bars)
    shares = [(mode["slo_attainment"], mode["accuracy"], score(mode)) for mode in result["modes"].values()]
    assert widths == pytest.approx(sorted(share for mode in shares for share in mode), abs=1e-4)


def test_only_the_best_product_is_bold(result: Any) -> None:
    assert table(result).count("**") == 4
