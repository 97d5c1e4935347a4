"""Asks the testbed's Prometheus what the panels of the chart's dashboards ask."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import yaml

from demo import installation
from testbed.dashboards.__main__ import BOARDS, RATE_INTERVAL, Source, values
from testbed.dashboards.asking import instant
from testbed.dashboards.reading import panels, questions

TENANT = {
    "apiVersion": "edge-intelligence.io/v1alpha1",
    "kind": "Tenant",
    "metadata": {"name": "factory"},
    "spec": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}},
}
WATTS = 3.5
SHOWN = {"namespace": "default", "service": "digits", "pool": "factory"}
"""The dashboards' variables."""
KNOWN = "edge_pool_nodes and on () edge_operator_tenant_weight and on () edge_slo_objective"
"""Finds something once the operator exports what the variables are chosen from."""
ROLLOUT = frozenset({"Share of the candidate", "Comparisons with the candidate"})
"""Panels of the service's dashboard that have data only during a roll-out."""
IDLE = frozenset({"Wait of first requests"})
"""Those that have data only after the service was idle."""


class Kubectl(Protocol):
    """Runs kubectl. text: its standard input."""

    def __call__(self, *args: str, text: str | None = None) -> str: ...


@contextmanager
def observed(kubectl: Kubectl) -> Iterator[None]:
    """The example with a Tenant and declared power, without which some panels have nothing to show."""
    groups = json.loads(kubectl("get", "devicepool", "factory", "-o", "json"))["spec"]["nodes"]
    powered = json.dumps({"spec": {"nodes": [{**group, "watts": WATTS} for group in groups]}})
    try:
        kubectl("apply", "-f", "-", text=yaml.safe_dump(TENANT))
        kubectl("patch", "devicepool", "factory", "--type", "merge", "-p", powered)
        yield
    finally:
        unpowered = json.dumps({"spec": {"nodes": groups}})
        kubectl("patch", "devicepool", "factory", "--type", "merge", "-p", unpowered)
        installation.delete_tenant(kubectl, "factory")


def asked(source: Source, only: frozenset[str] | None = None) -> dict[str, dict[str, str]]:
    """Returns the expressions of panels of all dashboards: by dashboard and panel, then by letter.

    only: titles of the panels. Default: all but those of `ROLLOUT` and `IDLE`.
    """
    found: dict[str, dict[str, str]] = {}
    for path in sorted(BOARDS.glob("*.json")):
        dashboard: Mapping[str, Any] = json.loads(path.read_text())
        # The variables of the tenants' dashboard have values only if there are Tenants.
        if only is not None and only.isdisjoint(panel["title"] for panel in panels(dashboard)):
            continue
        chosen = values(dashboard, source, SHOWN)
        for question in questions(dashboard, chosen, RATE_INTERVAL):
            if question.panel in ROLLOUT | IDLE if only is None else question.panel not in only:
                continue
            found.setdefault(f"{path.stem}: {question.panel}", {})[question.letter] = question.expression
    return found


def by_query(panels: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Returns the expressions by dashboard, panel and letter."""
    return {
        f"{panel} {letter}": expression
        for panel, letters in panels.items()
        for letter, expression in letters.items()
    }


def empty(source: Source, expressions: Mapping[str, str]) -> list[str]:
    """Returns the names of the expressions that find no series with a number."""
    found = source.ask([instant(each) for each in expressions.values()])
    return [
        name
        for name, series in zip(expressions, found, strict=True)
        if all(each["value"][1] == "NaN" for each in series)
    ]


class Unanswered:
    """Queries that have found nothing yet; each call asks those again."""

    def __init__(self, source: Source, wanted: Mapping[str, str]) -> None:
        self._source, self._wanted = source, wanted
        self.names = list(wanted)

    def __call__(self) -> bool:
        """Whether there are any."""
        self.names = empty(self._source, {name: self._wanted[name] for name in self.names})
        return bool(self.names)
