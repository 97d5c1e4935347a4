"""The pages list exactly the metrics, alerts and recorded series that there are."""

import re
from collections.abc import Sequence
from pathlib import Path

from exported_metrics import families
from rule_files import Document

DOCS = Path(__file__).parents[2] / "docs"
_ROW = re.compile(r"^\| (`edge_[^|]*) \|([^|]*)\|", re.MULTILINE)


def listed(page: str) -> dict[str, set[str]]:
    """The labels of each name in the tables of a page; values of labels are in parentheses."""
    found = {}
    for names, labels in _ROW.findall((DOCS / page).read_text()):
        plain = re.sub(r"\([^()]*\)", "", labels)
        for name in re.findall(r"`([\w:]+)`", names):
            found[name] = {label.strip() for label in plain.split(",")} - {""}
    return found


def test_the_page_lists_every_metric_with_its_labels() -> None:
    page = listed("metrics.md")
    wanted = {}
    for name, type_, labels in families():
        of_runtime = (
            not name.startswith(("edge_operator_", "edge_store_", "edge_node_cache_"))
            and "tenant" not in labels
        )
        implicit = {"service"} if of_runtime else set()
        wanted[f"{name}_total" if type_ == "counter" else name] = set(labels) - implicit
    assert page == wanted


def test_the_page_lists_every_recorded_series(groups: Sequence[Document]) -> None:
    names = {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    assert set(listed("monitoring.md")) == names


def test_every_alert_has_its_section_in_the_runbooks_and_no_other_has(groups: Sequence[Document]) -> None:
    text = (DOCS / "runbooks.md").read_text()
    sections = re.findall(r"^## (\w+)$", text, re.MULTILINE)
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    assert sorted(sections) == sorted({alert["alert"] for alert in alerts})
    for alert in alerts:
        page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert (page, anchor) == ("docs/runbooks.md", alert["alert"].lower())
    for section in re.split(r"^## \w+$", text, flags=re.MULTILINE)[1:]:
        assert "**Meaning.**" in section
        assert re.search(r"^\*\*(?:Check and do|Do)\.\*\*", section, re.MULTILINE)


def test_the_page_shows_a_picture_of_each_dashboard(boards: dict[str, Document]) -> None:
    text = (DOCS / "monitoring.md").read_text()
    shown = set(re.findall(r"\]\(images/dashboards/([\w-]+)\.png\)", text))
    assert shown == set(boards)
    for uid in boards:
        assert (DOCS / "images" / "dashboards" / f"{uid}.png").stat().st_size > 10_000
