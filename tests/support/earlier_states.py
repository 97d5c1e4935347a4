"""States of the project from which an installation is upgraded: their manifests, as test data, and sources.

`python tests/support/earlier_states.py` renders the manifests and CRDs again from the history. Run it after a
change of `STATES` only: what was released does not change.
"""

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "k3s" / "earlier"
CHART = "charts/edge-intelligence"
RELEASE = "edge-intelligence"
_KUBERNETES: Final = "1.34.0"
"""The version that is rendered for: `helm template` asks no API server."""


@dataclass(frozen=True)
class EarlierState:
    """A commit, and how it was installed and used.

    Attributes:
        commit: Its first digits, which are also the tag of its images.
        values: Of its chart. The model store has a claim, so that its files survive the upgrade.
        tier: How its DevicePool spells the tier of the nodes.
        tokens: Whether its model store requires a token.
    """

    commit: str
    values: Mapping[str, str] = field(default_factory=dict)
    tier: str = "Edge"
    tokens: bool = True

    @property
    def manifests(self) -> Path:
        """The rendered chart with its CRDs."""
        return DATA / f"{self.commit}.yaml"


STATES: Final = (
    EarlierState("eba13ff", {"store.persistence.enabled": "true"}, tier="edge", tokens=False),
    EarlierState("df8ebc8", {"store.persistence.enabled": "true", "monitoring.dashboards.enabled": "false"}),
)


def sources(state: EarlierState, folder: Path) -> Path:
    """Extracts the files of a state's commit. Skips the test if the history of the checkout lacks it."""
    known = subprocess.run(
        ["git", "cat-file", "-e", f"{state.commit}^{{commit}}"], cwd=ROOT, capture_output=True, check=False
    )
    if known.returncode:
        pytest.skip(f"the history of this checkout lacks commit {state.commit}: git fetch --unshallow")
    return _extracted(state, folder)


def chart(state: EarlierState, folder: Path) -> Path:
    """Writes a chart that installs the manifests of a state as they were rendered."""
    found = folder / f"chart-{state.commit}"
    (found / "templates").mkdir(parents=True)
    (found / "crds").mkdir()
    about = {"apiVersion": "v2", "name": RELEASE, "version": "0.0.1", "appVersion": state.commit}
    (found / "Chart.yaml").write_text(json.dumps(about))
    for number, body in enumerate(manifests(state)):
        # Helm installs CRDs of this folder first, and none of them belongs to the release.
        own = body["kind"] == "CustomResourceDefinition" and "helm.sh/resource-policy" not in _notes(body)
        text = json.dumps(body)
        place = found / ("crds" if own else "templates") / f"{number:03}.yaml"
        place.write_text(text if own else f"{{{{ {json.dumps(text)} }}}}")
    return found


def manifests(state: EarlierState) -> list[dict[str, Any]]:
    """Returns the objects of a state's chart, with its CRDs."""
    text = state.manifests.read_text()
    return [body for body in yaml.safe_load_all(text) if body]


def _notes(body: Mapping[str, Any]) -> Mapping[str, str]:
    return body["metadata"].get("annotations") or {}


def _extracted(state: EarlierState, folder: Path) -> Path:
    archive = subprocess.run(
        ["git", "archive", "--format=tar", state.commit], cwd=ROOT, capture_output=True, check=True
    )
    found = folder / state.commit
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(found, filter="data")
    return found


def _render(state: EarlierState, folder: Path) -> None:
    from testbed.binaries import Binaries

    helm = Binaries(ROOT / ".cache" / "bin", print).all()["helm"]
    given = {**state.values, "operator.image.tag": state.commit, "runtime.image.tag": state.commit}
    path = str(_extracted(state, folder) / CHART)
    flags = ["--namespace", RELEASE, "--include-crds", "--kube-version", _KUBERNETES]
    values = [part for name, value in given.items() for part in ("--set", f"{name}={value}")]
    rendered = subprocess.run(
        [str(helm), "template", RELEASE, path, *flags, *values], capture_output=True, check=True
    )
    DATA.mkdir(exist_ok=True)
    state.manifests.write_bytes(rendered.stdout)
    print(f"{state.manifests}: {state.manifests.stat().st_size} bytes")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        for each in STATES:
            _render(each, Path(place))
