import datetime
import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from testbed import release
from testbed.errors import BadValueError

ROOT = Path(__file__).resolve().parents[2]
DATE = datetime.date(2026, 12, 1)
CHANGELOG = """# Changelog

## [Unreleased]

### Added
- A codec of the version after next.

## [0.2.0] - Unreleased

### Added
- A codec.

## [0.1.0] - 2026-11-01

### Fixed
- A cut.
"""


def resolved(lock: str, architecture: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What the release's check of a lock says."""
    argv = release.resolution(lock, architecture, folder)
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "all"\nversion = "0.2.0"\n'
        '[tool.uv.workspace]\nmembers = ["api", "operator", "testbed"]\n'
    )
    projects = {
        "api": ("0.2.0", ["pydantic>=2"]),
        "operator": ("0.2.0", ["edge-api==0.2.0", "kopf"]),
        "testbed": ("0.2.0", []),
    }
    for name, (version, needs) in projects.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(
            f'[project]\nname = "edge-{name}"\nversion = "{version}"\ndependencies = {needs}\n'
        )
    return tmp_path


def test_a_release_holds_every_distribution_but_the_testbed(checkout: Path) -> None:
    version, found = release.distributions(checkout)

    assert version == "0.2.0"
    assert [each.name for each in found] == ["edge-api", "edge-operator"]
    assert release.closure("edge-operator", found) == {"edge-operator", "edge-api"}


def test_a_distribution_of_another_version_is_named(checkout: Path) -> None:
    page = checkout / "api" / "pyproject.toml"
    page.write_text(page.read_text().replace("0.2.0", "0.1.9"))

    with pytest.raises(BadValueError, match=r'api/pyproject\.toml: version "0\.1\.9".*"0\.2\.0"'):
        release.distributions(checkout)


@pytest.mark.parametrize(
    ("version", "date", "body"),
    [
        ("0.2.0", "2026-12-01", "### Added\n- A codec."),
        ("0.1.0", "2026-11-01", "### Fixed\n- A cut."),
    ],
)
def test_the_tag_has_the_entries_of_its_version_and_their_date_or_todays(
    version: str, date: str, body: str
) -> None:
    assert release.notes(CHANGELOG, version, DATE) == f"## [{version}] - {date}\n\n{body}\n"


@pytest.mark.parametrize(
    "changelog",
    [
        "# Changelog\n\n## [Unreleased]\n\n### Added\n- A codec.\n",
        "# Changelog\n\n## [0.2.0] - Unreleased\n\n## [0.1.0] - 2026-11-01\n\n### Fixed\n- A cut.\n",
    ],
    ids=["no section", "an empty section"],
)
def test_a_version_without_entries_is_refused(changelog: str) -> None:
    with pytest.raises(BadValueError, match=r'CHANGELOG\.md: no entries under "## \[0\.2\.0\]"'):
        release.notes(changelog, "0.2.0", DATE)


@pytest.mark.parametrize("heading", ["## [0.2.0]", "## [0.2.0] - soon"])
def test_a_version_without_a_date_is_refused(heading: str) -> None:
    with pytest.raises(BadValueError, match=r"0\.2\.0.*2026-12-01"):
        release.notes(f"{heading}\n\n### Added\n- A codec.\n", "0.2.0", DATE)


def test_a_bill_of_materials_does_not_name_the_folder_of_the_build(tmp_path: Path) -> None:
    bill = f'{{"url": "{(tmp_path / "edge_api-0.1.0-py3-none-any.whl").as_uri()}"}}'

    assert release.portable(bill, tmp_path) == '{"url": "edge_api-0.1.0-py3-none-any.whl"}'


def test_checksums_are_those_that_sha256sum_reads(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"wheel")

    assert release.checksums([tmp_path / "a.whl"]) == f"{hashlib.sha256(b'wheel').hexdigest()}  a.whl\n"


def test_this_checkout_can_be_released() -> None:
    version, found = release.distributions(ROOT)

    assert found
    assert all(release.closure(each.name, found) <= {other.name for other in found} for each in found)
    assert release.notes((ROOT / "CHANGELOG.md").read_text(), version, DATE)


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
@pytest.mark.parametrize("lock", release.LOCKS)
def test_every_package_of_an_image_has_a_locked_wheel_for_each_architecture(
    lock: str, architecture: str, tmp_path: Path
) -> None:
    done = resolved(lock, architecture, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [file.name for file in tmp_path.iterdir() if file.name != ".lock"] == [], "nothing is installed"


def test_a_package_without_a_wheel_for_an_architecture_is_named(tmp_path: Path) -> None:
    done = resolved("openvino", "arm64", tmp_path)
    assert done.returncode != 0
    assert "onnxruntime-openvino" in done.stderr
    assert "aarch64" in done.stderr


def test_the_dockerfile_installs_the_locks_that_are_checked() -> None:
    installed = re.findall(r"/requirements/([a-z]+)\.lock", (ROOT / "Dockerfile").read_text())
    assert set(installed) == set(release.LOCKS)
