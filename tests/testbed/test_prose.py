import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from testbed import prose
from testbed.binaries import GOMODS, VALE

ROOT = Path(__file__).resolve().parents[2]
# Rule -> sentences that it reports.
REPORTED = {
    "Archaic": ["The callers wait in vain.", "Errors of late count more.", "It is cut anew."],
    "Inverted": ["So is a body that breaks off.", "Only then is the table published.", "Left out are cuts."],
    "Headless": ["It rejects whoever has no certificate.", "The probe goes on if nobody uses the link."],
    "Personified": ["The link sags.", "The API server is asked as before.", "The route goes on."],
    "NotNone": ["0s is no time.", "It rejects a path that is none."],
    "Wordy": ["The exit in use at the moment.", "Versions from 1.29 on work.", "The batch may not be empty."],
    "Filler": ["It simply works."],
    "Terms": [
        "A helper runs the slice.",
        "The insurance is late.",
        "The answer is 504.",
        "It is answered 504.",
    ],
    "Spelling": ["The behaviour is the same.", "A quantised operator.", "The neighbouring cut."],
}
ACCEPTED = [
    "The runtime serves on port 8080.",
    "There is no route to the node, and the node is no longer Ready.",
    "Meanwhile, the old table serves requests.",
    "The intermediate node returns the response in 5 ms.",
    "The rules are good for good values.",
    "The values in all namespaces are the same.",
    "The phrase `in vain` is archaic.",
]


def alerts_of(page: Path) -> list[dict[str, Any]]:
    """What Vale reports for a file with the project's rules."""
    command = [str(prose.vale()), "--no-global", f"--config={ROOT / '.vale.ini'}", "--output=JSON", str(page)]
    found = json.loads(subprocess.run(command, check=False, capture_output=True, text=True).stdout)
    alerts: list[dict[str, Any]] = found.get(str(page), [])
    return sorted(alerts, key=lambda alert: (alert["Line"], alert["Span"]))


@pytest.fixture(scope="module")
def alerts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, set[str]]:
    """The rules that each sentence breaks, by Vale with the project's rules."""
    sentences = [sentence for listed in REPORTED.values() for sentence in listed] + ACCEPTED
    page = tmp_path_factory.mktemp("prose") / "page.md"
    page.write_text("\n\n".join(sentences) + "\n")
    broken: dict[str, set[str]] = {sentence: set() for sentence in sentences}
    for alert in alerts_of(page):
        broken[sentences[(alert["Line"] - 1) // 2]].add(alert["Check"])
    return broken


@pytest.mark.parametrize(
    ("rule", "sentence"), [(rule, sentence) for rule, listed in REPORTED.items() for sentence in listed]
)
def test_a_rule_reports_the_phrases_that_it_is_for(
    alerts: Mapping[str, set[str]], rule: str, sentence: str
) -> None:
    assert f"Edge.{rule}" in alerts[sentence]


def test_in_a_module_comments_docstrings_and_messages_are_checked_and_names_are_not(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        'helper = {"option": 1}  # whoever\n'
        "\n"
        "def relay(covers: int) -> str:\n"
        '    """A relay."""\n'
        '    return f"{covers} of {helper} waited in vain"\n'
    )
    assert [(alert["Line"], alert["Match"]) for alert in alerts_of(module)] == [
        (1, "whoever"),
        (4, "relay"),
        (5, "in vain"),
    ]


@pytest.mark.parametrize("sentence", ACCEPTED)
def test_usual_english_passes(alerts: Mapping[str, set[str]], sentence: str) -> None:
    assert alerts[sentence] == set()


def test_every_rule_says_its_reason_and_has_an_example() -> None:
    rules = {path.stem: path.read_text() for path in (ROOT / ".vale/styles/Edge").glob("*.yml")}
    assert rules.keys() == REPORTED.keys()
    assert [name for name, text in rules.items() if not text.startswith("# Reason: ")] == []


def test_every_page_that_is_checked_exists() -> None:
    assert [page for page in prose.PAGES if not (ROOT / page).exists()] == []


def test_a_machine_that_cannot_build_vale_gets_the_missing_packages_named() -> None:
    assert prose.refusal(user=0, may_apt=True, has_go=True, missing=["gcc"]) is None
    assert prose.refusal(user=1000, may_apt=False, has_go=True, missing=[]) is None
    for user, may_apt in ((1000, True), (0, False)):
        message = prose.refusal(user, may_apt=may_apt, has_go=True, missing=["gcc", "libc6-dev"]) or ""
        assert "gcc, libc6-dev" in message
        assert f"vale {VALE.version} on PATH" in message
    assert "`go`" in (prose.refusal(user=0, may_apt=True, has_go=False, missing=[]) or "")


def test_vale_is_pinned_by_the_module_that_builds_it() -> None:
    assert f"github.com/errata-ai/vale/v3 {VALE.version}" in (GOMODS / VALE.module / "go.mod").read_text()
