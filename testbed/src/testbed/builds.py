"""Builds container images with mmdebstrap and buildah; the only caller of both.

Builds of images write to the cache folder and run inside the testbed's outermost machine, so that they and
their mounts end with it. They are keyed by a digest of their inputs: equal inputs are not built twice.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import CommandFailedError, ImageUnavailableError
from testbed.layout import Layout
from testbed.processes import ProcessRecord, run, working
from testbed.progress import Progress, step

# The base does not depend on the machine's Debian, since the wheels' Python versions depend on the base.
SUITE = "bookworm"
PACKAGES = ("ca-certificates", "libpython3.11", "python3", "python3-venv")
# Builds of the Dockerfiles can lack network access, so the locale is built here; its sources are removed.
LOCALE = (
    "localedef --no-archive -i en_US -f UTF-8 /usr/lib/locale/en_US.utf8",
    "dpkg --purge locales",
)
CERTIFICATES = "/etc/ssl/certs"
PIP_SETTINGS = ("PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")
PROXY_SETTINGS = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
NOT_INPUTS = {"__pycache__"}


def digest_of(texts: Iterable[str], paths: Iterable[Path], root: Path) -> str:
    """Returns twelve hex digits that change if a text, or a file's name or content below `root` changes."""
    total = hashlib.sha256()
    for text in texts:
        total.update(f"{len(text)}:{text}".encode())
    for path in sorted(paths):
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            relative = file.relative_to(root)
            if not NOT_INPUTS.intersection(relative.parts) and not relative.parent.name.endswith(".egg-info"):
                data = file.read_bytes()
                total.update(f"{relative}:{len(data)}:".encode() + data)
    return total.hexdigest()[:12]


def debian_source(suite: str) -> list[str]:
    """Returns this machine's package source if it has the same suite, so that its mirror is used.

    Otherwise mmdebstrap's default is used.
    """
    try:
        same = f"VERSION_CODENAME={suite}" in Path("/etc/os-release").read_text().splitlines()
    except OSError:
        same = False
    files = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
    return [str(file) for file in files if same and file.is_file() and file.stat().st_size][:1]


def extract_libraries(suite: str, packages: Sequence[str], folder: Path) -> None:
    """Extracts packages of a Debian and what they need into a folder, without configuring them.

    Raises ImageUnavailableError.
    """
    temporary = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    argv = ["mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(packages)}"]
    try:
        run([*argv, suite, str(temporary), *debian_source(suite)])
    except CommandFailedError as error:
        raise ImageUnavailableError(f"{folder.name}: packages of Debian {suite}: {error}") from None
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


@dataclass(frozen=True)
class Recipe:
    """An image of a Dockerfile. inputs: the files below the checkout that it copies, relative to `context`.

    tagged: the tag contains their digest, so that pods are replaced when the inputs change.
    """

    name: str
    dockerfile: Path
    inputs: Sequence[Path]
    target: str | None = None
    tagged: bool = False


@dataclass(frozen=True)
class Image:
    """An OCI archive, and the reference of its image in manifests."""

    archive: Path
    reference: str


class Builder:
    """Builds images into the cache of one checkout."""

    def __init__(self, layout: Layout, root: ProcessRecord, progress: Progress) -> None:
        self._layout, self._progress = layout, progress
        self._inside = working(root)
        self._work = layout.cache / "buildah"

    def image(self, recipe: Recipe, reference: str) -> Image:
        """Returns the image of the recipe, built if its inputs changed."""
        layout = self._layout
        digest = digest_of(
            [self._base_digest(), str(recipe.target), reference],
            [recipe.dockerfile, *recipe.inputs],
            layout.sources,
        )
        target = layout.images / f"{recipe.name}-{digest}.oci.tar"
        reference = f"{reference}-{digest}" if recipe.tagged else reference
        if not target.exists():
            layout.images.mkdir(parents=True, exist_ok=True)
            try:
                base = self._base()
                with step(self._progress, f"image {recipe.name}", announce=True):
                    self._build(recipe, base, reference, target)
            except CommandFailedError as error:
                raise ImageUnavailableError(f"image {recipe.name}: the build failed: {error}") from None
            self._remove_older(recipe.name, target)
        return Image(target, reference)

    def _base_digest(self) -> str:
        return digest_of([SUITE, *PACKAGES, *LOCALE], [], self._layout.sources)

    def _run(self, *argv: str) -> str:
        temporary = self._work / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        return run([*self._inside, "env", f"TMPDIR={temporary}", *argv])

    def _buildah(self, command: str, *argv: str) -> str:
        storage = [
            "--root",
            str(self._work / "storage"),
            "--runroot",
            "/run/buildah",
            "--storage-driver",
            "overlay",
        ]
        return self._run("buildah", *storage, command, *argv)

    def _base(self) -> str:
        """Builds a Debian with Python in buildah's storage."""
        reference = f"localhost/edge-testbed/base:{self._base_digest()}"
        try:
            self._buildah("inspect", "--type", "image", reference)
        except CommandFailedError:
            with step(self._progress, f"base image: {SUITE} with {', '.join(PACKAGES)}", announce=True):
                self._bootstrap(reference)
        return reference

    def _bootstrap(self, reference: str) -> None:
        context = self._work / "base"
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir(parents=True)
        docs = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"]
        excludes = [f"--dpkgopt=path-exclude={pattern}" for pattern in docs]
        self._run(
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={','.join((*PACKAGES, 'locales'))}",
            *excludes,
            *(f'--customize-hook=chroot "$1" {command}' for command in LOCALE),
            SUITE,
            str(context / "base.tar"),
            *debian_source(SUITE),
        )
        (context / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
        self._buildah("bud", "--quiet", "--isolation", "chroot", "--tag", reference, str(context))
        shutil.rmtree(context, ignore_errors=True)

    def _build(self, recipe: Recipe, base: str, reference: str, target: Path) -> None:
        pip_cache = self._layout.cache / "pip"
        pip_cache.mkdir(parents=True, exist_ok=True)
        volumes = [f"{CERTIFICATES}:{CERTIFICATES}:ro", f"{pip_cache}:/root/.cache/pip:rw"]
        if Path("/etc/pip.conf").is_file():
            volumes.append("/etc/pip.conf:/etc/pip.conf:ro")
        settings = {
            name: os.environ[name] for name in (*PIP_SETTINGS, *PROXY_SETTINGS) if os.environ.get(name)
        }
        options = [f"--volume={volume}" for volume in volumes]
        options += [f"--build-arg={name}={value}" for name, value in {"BASE": base, **settings}.items()]
        options += [f"--target={recipe.target}"] if recipe.target else []
        self._buildah(
            "bud",
            "--quiet",
            "--layers",
            "--pull-never",
            "--isolation=chroot",
            *options,
            f"--tag={reference}",
            f"--file={recipe.dockerfile}",
            str(self._layout.sources),
        )
        unfinished = target.with_name(f".{target.name}")
        unfinished.unlink(missing_ok=True)
        # zstd: every node unpacks the archive, which takes twice the time with gzip.
        archive = f"oci-archive:{unfinished}:{reference}"
        self._buildah("push", "--quiet", "--compression-format=zstd", reference, archive)
        unfinished.replace(target)

    def _remove_older(self, name: str, newest: Path) -> None:
        for path in self._layout.images.glob(f"{name}-*.oci.tar"):
            if path != newest:
                path.unlink(missing_ok=True)
