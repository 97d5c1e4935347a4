import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from testbed.binaries import (
    GOMODS,
    KUBERNETES,
    PROGRAMS,
    Binaries,
    build_command,
    by_module,
    says_version,
)
from testbed.errors import BadValueError, BinaryUnavailableError
from testbed.gomods import kubernetes_go_mod

KUBELET = next(program for program in PROGRAMS if program.name == "kubelet")
HELM = next(program for program in PROGRAMS if program.name == "helm")


def program_that_says(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "assets"
    folder.mkdir()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(folder))
    return folder


def test_a_program_comes_from_the_named_folder_first(assets: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    program_that_says(cache / KUBELET.cached_name, "Kubernetes v1.34.2")
    binaries = Binaries(cache, lambda _: None)

    assert binaries.find(KUBELET) == cache / KUBELET.cached_name
    program_that_says(assets / "kubelet", "Kubernetes v1.34.2")
    assert binaries.find(KUBELET) == assets / "kubelet"


def test_a_program_of_another_version_is_not_used(assets: Path, tmp_path: Path) -> None:
    program_that_says(assets / "kubelet", "Kubernetes v1.34.20")

    assert Binaries(tmp_path, lambda _: None).find(KUBELET) is None


def test_without_a_toolchain_the_sentence_names_what_to_do(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(assets))

    with pytest.raises(BinaryUnavailableError, match=r"no Go toolchain.*put `go`.*CLUSTER=existing"):
        Binaries(tmp_path, lambda _: None).all()


def test_a_build_that_fails_leaves_no_program_behind(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (assets / "go").write_text('#!/bin/sh\nfor last; do :; done\necho "no network" >&2\nexit 1\n')
    (assets / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{assets}:{os.environ['PATH']}")

    with pytest.raises(BinaryUnavailableError, match=r"kube-apiserver, .* v1.34.2: .*no network"):
        Binaries(tmp_path / "bin", lambda _: None).all()
    assert list((tmp_path / "bin").iterdir()) == []


def test_a_program_that_two_commands_need_is_built_once(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The build waits until the other command is there, or gives it a second to begin a build of its own.
    (assets / "go").write_text(
        f"""#!/bin/sh
echo build >> {tmp_path}/builds
while [ "$1" != -o ]; do shift; done
i=0; while [ "$(wc -l < {tmp_path}/builds)" -lt 2 ] && [ $i -lt 10 ]; do sleep 0.1; i=$((i + 1)); done
printf '#!/bin/sh\necho {HELM.version}\n' > "$2"
chmod 755 "$2"
"""
    )
    (assets / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{assets}:{os.environ['PATH']}")
    binaries = [Binaries(tmp_path / "bin", lambda _: None) for _ in range(2)]

    with ThreadPoolExecutor() as pool:
        built = list(pool.map(lambda each: each.one(HELM), binaries))

    assert built == [tmp_path / "bin" / HELM.cached_name] * 2
    assert (tmp_path / "builds").read_text() == "build\n"


@pytest.mark.parametrize(
    ("answer", "same"),
    [
        ("Kubernetes v1.34.2\n", True),
        ("Version: 1.34.2", True),
        ("v1.34.20", False),
        ("v11.34.2", False),
    ],
)
def test_a_version_is_compared_as_a_whole(answer: str, same: bool) -> None:
    assert says_version(answer, KUBERNETES) is same


def test_a_build_is_stamped_and_changes_no_module_file() -> None:
    command = build_command([KUBELET], "go", Path("out"))

    assert "-ldflags=-s -w -X k8s.io/component-base/version.gitVersion=v1.34.2" in command
    assert "-mod=readonly" in command
    assert command[-3:] == ["-o", "out/kubelet", "k8s.io/kubernetes/cmd/kubelet"]


def test_programs_of_one_module_are_built_by_one_command_into_a_folder() -> None:
    groups = by_module(PROGRAMS)
    kubernetes = next(group for group in groups if KUBELET in group)
    command = build_command(kubernetes, "go", Path("out"))

    assert sorted(program.name for group in groups for program in group) == sorted(p.name for p in PROGRAMS)
    assert len({program.module for program in kubernetes}) == 1
    assert command[command.index("-o") + 1] == "out/"
    assert command[-len(kubernetes) :] == [program.package for program in kubernetes]


UPSTREAM = """module k8s.io/kubernetes

go 1.24.0

require (
	k8s.io/api v0.0.0
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/cri-api => ./staging/src/k8s.io/cri-api
)
"""


def test_staging_folders_become_the_versions_published_with_the_release() -> None:
    text = kubernetes_go_mod(UPSTREAM, "v1.34.2")

    assert "require k8s.io/kubernetes v1.34.2\n" in text
    assert "\tk8s.io/api => k8s.io/api v0.34.2\n\tk8s.io/cri-api => k8s.io/cri-api v0.34.2\n" in text
    assert "\tk8s.io/kubernetes/cmd/kubelet\n" in text
    assert "./staging" not in text


def test_a_release_that_is_invalid_is_refused() -> None:
    with pytest.raises(BadValueError, match=r"Kubernetes version '1\.34': use e\.g\. v1\.34\.2"):
        kubernetes_go_mod(UPSTREAM, "1.34")


def test_every_program_has_the_module_that_pins_it() -> None:
    for program in PROGRAMS:
        module = (GOMODS / program.module / "go.mod").read_text()
        if program.package != ".":
            assert program.version in module
            assert program.package in module
