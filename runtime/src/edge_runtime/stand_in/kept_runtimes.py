"""The runtimes whose pods the kubelet of this host keeps on its disk. Blocking."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_runtime.json_values import Json, metadata_of, spec_of
from edge_runtime.last_placements import LastPlacements

_CACHE: Final = "volumes/kubernetes.io~empty-dir/cache"
"""Folder of the runtime's volume in that of its pod."""
_CONTACT: Final = "last-word"
_SERVICES, _SLICES, _TRIALS = "services", "slices", "trials"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A runtime of this node. service: the only one that it serves; empty: all of the namespace."""

    namespace: str
    service: str = ""

    @property
    def name(self) -> str:
        """A name that is a file name and unique on the node."""
        return f"{self.namespace}.{self.service}" if self.service else self.namespace


@dataclass(frozen=True, slots=True)
class KeptRuntime:
    """A runtime of a pod whose folder is on the disk.

    pods: folders of its pods, that with the last contact to the API server first. node: as Kubernetes names
    it. services: that it serves. ports: of the node, with the port name `http` or `grpc` of the runtime that
    each leads to.
    """

    key: Key
    pods: tuple[Path, ...]
    node: str
    services: tuple[str, ...]
    ports: Mapping[int, str]

    @property
    def addresses(self) -> Iterator[str]:
        """Addresses that the kubelet has given its pods, possibly before the host was restarted."""
        for pod in self.pods:
            with contextlib.suppress(OSError, ValueError):
                lines = [each.split() for each in (pod / "etc-hosts").read_text().splitlines()]
                # The kubelet writes the pod's own address behind those that every host has.
                yield from [words[0] for words in lines if len(words) > 1 and _own(words)][:1]


def kept_runtimes(kubelet: Path) -> dict[Key, KeptRuntime]:
    """Returns the runtimes that have a Placement on the disk. kubelet: its root folder.

    Costs the reading of the folders of all pods of the node, and of the Placements of the runtimes.
    """
    found: dict[Key, list[tuple[float, Path, list[Json]]]] = {}
    for pod in sorted(_folders(kubelet / "pods")):
        cache = pod / _CACHE
        lone = LastPlacements(cache).documents()[:1]
        shared = [
            document
            for folder in sorted(_folders(cache / _SERVICES))
            for document in LastPlacements(folder).documents()[:1]
        ]
        documents: list[Json] = shared or lone
        namespaces = {str(metadata_of(each).get("namespace", "")) for each in documents}
        if len(namespaces) == 1 and all(namespaces):
            own = "" if shared else str(spec_of(lone[0]).get("service", ""))
            key = Key(namespaces.pop(), own)
            found.setdefault(key, []).append((_changed(cache), pod, documents))
    return {key: _runtime(key, pods) for key, pods in found.items()}


def copy_cache(runtime: KeptRuntime, target: Path, user: int | None) -> None:
    """Replaces `target` by what the runtime needs for a start from the disk. Raises OSError.

    The pod, which may start at any time, keeps a folder of its own. Slices, which do not change, share their
    blocks with it where the file system allows that. user: who owns the copy;
    None: this process.
    """
    unfinished = target.with_name(f".{target.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    cache = runtime.pods[0] / _CACHE
    unfinished.mkdir(parents=True)
    for part in (_SERVICES, _TRIALS):
        if (cache / part).is_dir():
            shutil.copytree(cache / part, unfinished / part, symlinks=True)
    for file in cache.glob("*"):
        if file.is_file() and not file.is_symlink():
            shutil.copyfile(file, unfinished / file.name)
    (unfinished / _SLICES).mkdir(exist_ok=True)
    for file in _files(cache / _SLICES):
        try:
            os.link(file, unfinished / _SLICES / file.name)
        except OSError:  # another file system
            shutil.copyfile(file, unfinished / _SLICES / file.name)
    if user is not None:
        for folder, _, names in os.walk(unfinished):
            for path in (Path(folder), *(Path(folder, name) for name in names)):
                os.chown(path, user, user, follow_symlinks=False)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.replace(target)


def _runtime(key: Key, pods: Sequence[tuple[float, Path, list[Json]]]) -> KeptRuntime:
    newest = sorted(pods, key=lambda each: each[0], reverse=True)
    specs = [spec_of(document) for document in newest[0][2]]
    return KeptRuntime(
        key,
        tuple(pod for _, pod, _ in newest),
        str(specs[0].get("node", "")),
        tuple(str(spec.get("service", "")) for spec in specs),
        dict(_ports(specs)),
    )


def _ports(specs: Iterable[Json]) -> Iterator[tuple[int, str]]:
    for spec in specs:
        ports = spec.get("hostPorts")
        for name, port in (ports if isinstance(ports, dict) else {}).items():
            if name in ("http", "grpc") and isinstance(port, int) and 0 < port < 1 << 16:
                yield port, name


def _folders(path: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from (each for each in path.iterdir() if each.is_dir() and not each.is_symlink())


def _files(path: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from (each for each in path.iterdir() if each.is_file() and not each.is_symlink())


def _changed(cache: Path) -> float:
    """When a pod last noted a contact to the API server, or else when it last changed its folder."""
    for path in (cache / _CONTACT, cache):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _own(words: Sequence[str]) -> bool:
    return not words[0].startswith("#") and not words[1].startswith(("localhost", "ip6-"))
