"""Models in OCI registries, by the distribution API: a file in a layer of an image, or a layer itself.

An image has the model as a file of a layer under `models/`, as images that KServe mounts do; an artifact has
it as a layer with a title, as `oras push` makes it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

import httpx

from edge_runtime.errors import BadRequest, DigestMismatch, NotFound, Refused, Unreachable
from edge_runtime.store.receiving import Receiver
from edge_runtime.store.remote.references import Reference, reference_of

SUFFIX: Final = ".onnx"
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_TITLE: Final = "org.opencontainers.image.title"
_LARGEST_MANIFEST: Final = 4 << 20
_CHUNK: Final = 1 << 20
_TIMES: Final = httpx.Timeout(60.0, connect=10.0)
_TRIES: Final = 5
_WHITEOUT: Final = ".wh."
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(slots=True)
class Registry:
    """One repository of a registry.

    logins: `user:password` by registry, as .dockerconfigjson has them. plain: registries without TLS.
    """

    reference: Reference
    said: str
    client: httpx.Client
    logins: Mapping[str, str] = field(default_factory=dict)
    plain: frozenset[str] = frozenset()
    _authorization: str = ""

    def manifest(self) -> Mapping[str, Any]:
        """Returns the manifest of the image; of an index, the first of its images with layers."""
        found, kind = self._manifest(self.reference.version)
        if kind in _INDEXES or "manifests" in found:
            images = [each for each in found.get("manifests", []) if not _is_attestation(each)]
            if not images:
                raise NotFound(f"{self.said} is an index without images: push the image again")
            found, _ = self._manifest(str(images[0]["digest"]))
        return found

    def _manifest(self, version: str) -> tuple[Mapping[str, Any], str]:
        accepted = ", ".join((*_MANIFESTS, *_INDEXES))
        with self._get(f"manifests/{version}", {"accept": accepted}) as response:
            body = b""
            for part in response.iter_bytes():
                body += part
                if len(body) > _LARGEST_MANIFEST:
                    raise BadRequest(f"{self.said} has a manifest of more than {_LARGEST_MANIFEST} bytes")
        if version.startswith("sha256:") and hashlib.sha256(body).hexdigest() != version[7:]:
            raise DigestMismatch(f"{self.said}: the registry returned another manifest than {version}")
        try:
            found = json.loads(body)
        except ValueError as error:
            raise Unreachable(f"{self.said}: the registry's manifest is not JSON ({error})") from error
        return cast("Mapping[str, Any]", found), str(found.get("mediaType", ""))

    def blob(self, digest: str, offset: int = 0) -> Iterator[bytes]:
        """Yields the bytes of a layer, requesting the rest after a break."""
        tries = 0
        while True:
            headers = {"range": f"bytes={offset}-"} if offset else {}
            try:
                with self._get(f"blobs/{digest}", headers) as response:
                    skip = offset if response.status_code == 200 else 0
                    for part in response.iter_raw(_CHUNK):
                        cut = min(skip, len(part))
                        skip -= cut
                        if part[cut:]:
                            offset, tries = offset + len(part) - cut, 0
                            yield part[cut:]
                return
            except (httpx.TransportError, Unreachable) as error:
                tries += 1
                if tries >= _TRIES:
                    raise Unreachable(f"{self.said} cannot be read ({_words(error)})") from error

    @contextlib.contextmanager
    def _get(self, path: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        host, name = self.reference.host, self.reference.name
        scheme = "http" if host in self.plain else "https"
        url = f"{scheme}://{host}/v2/{name}/{path}"
        for _ in range(2):
            shown = dict(headers) | ({"authorization": self._authorization} if self._authorization else {})
            with self.client.stream("GET", url, headers=shown) as response:
                if response.status_code == 401 and not self._authorization:
                    self._authorization = self._authorized(response.headers.get("www-authenticate", ""))
                    continue
                self._check(response)
                yield response
                return
        raise Refused(f"{self.said} was refused: {self._fix}")

    def _authorized(self, challenge: str) -> str:
        login = self.logins.get(self.reference.host, "")
        basic = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic" and basic:
            return basic
        asked = dict(_CHALLENGE.findall(rest))
        if kind.lower() != "bearer" or not asked.get("realm", "").startswith(("https://", "http://")):
            raise Refused(f"{self.said} was refused: {self._fix}")
        query = {"service": asked.get("service", ""), "scope": f"repository:{self.reference.name}:pull"}
        headers = {"authorization": basic} if basic else {}
        response = self.client.get(asked["realm"], params=query, headers=headers)
        self._check(response)
        try:
            found = response.json()
            return f"Bearer {found.get('token') or found['access_token']}"
        except (ValueError, KeyError, AttributeError) as error:
            raise Unreachable(f"{self.said}: the registry's token service returned no token") from error

    @property
    def _fix(self) -> str:
        if self.logins:
            return f"check the login of {self.reference.host} in the Secret"
        return "name a Secret of type kubernetes.io/dockerconfigjson in secretName"

    def _check(self, response: httpx.Response) -> None:
        status = f"HTTP {response.status_code} {response.reason_phrase}".rstrip()
        if response.status_code == 404:
            raise NotFound(f"{self.said} does not exist: the registry returned {status}")
        if response.status_code in (401, 403):
            raise Refused(f"{self.said} was refused: the registry returned {status}: {self._fix}")
        if response.status_code not in (200, 206):
            raise Unreachable(f"{self.said} cannot be read: the registry returned {status}")


def read_image(
    text: str,
    receiver: Receiver,
    said: str,
    logins: Mapping[str, str] | None = None,
    plain: frozenset[str] = frozenset(),
) -> None:
    """Passes a model, or the file of an image that `text` names, to `receiver`.

    Raises BadRequest, NotFound, Refused, Unreachable and DigestMismatch, beginning with `said`.
    """
    reference = reference_of(text, said)
    try:
        with httpx.Client(timeout=_TIMES, follow_redirects=True, trust_env=False) as client:
            registry = Registry(reference, said, client, logins or {}, plain)
            layers = registry.manifest().get("layers") or []
            titled = _titled(layers, reference, said)
            if titled is not None:
                _read_layer(registry, titled, receiver)
            else:
                _read_from_layers(registry, layers, receiver)
    except httpx.HTTPError as error:
        raise Unreachable(f"{said} cannot be read ({_words(error)})") from error
    except tarfile.TarError as error:
        raise BadRequest(f"{said} has a layer that is not a tar archive ({error}): build it again") from error


def _titled(layers: list[Mapping[str, Any]], reference: Reference, said: str) -> Mapping[str, Any] | None:
    """Returns the layer of an artifact that is the file; None for an image."""
    titles = {(each.get("annotations") or {}).get(_TITLE, ""): each for each in layers}
    files = {title: layer for title, layer in titles.items() if title}
    if not files:
        return None
    wanted = [title for title in files if _is_wanted(title, reference)]
    wanted = wanted or [title for title in files if PurePosixPath(reference.path).name == title]
    _check_single(wanted, reference, said, sorted(files))
    return files[wanted[0]] if wanted else None


def _is_wanted(path: str, reference: Reference) -> bool:
    path = path.removeprefix("./").lstrip("/")
    return path == reference.path if reference.path else path.endswith(SUFFIX)


def _check_single(wanted: list[str], reference: Reference, said: str, files: list[str]) -> None:
    if len(wanted) > 1:
        names = ", ".join(sorted(wanted)[:8])
        raise BadRequest(f"{said} has several models ({names}): add # and the path of one to the address")
    if not wanted:
        what = f"no file {reference.path}" if reference.path else f"no file that ends in {SUFFIX}"
        raise NotFound(f"{said} has {what}, only {', '.join(files[:8])}: add # and a path to the address")


def _read_layer(registry: Registry, layer: Mapping[str, Any], receiver: Receiver) -> None:
    digest = str(layer["digest"])
    offset = receiver.begin(int(layer["size"]), digest)
    found = hashlib.sha256() if offset == 0 else None
    for part in registry.blob(digest, offset):
        if found is not None:
            found.update(part)
        receiver.write(part)
    if found is not None:
        _check_digest(found.hexdigest(), digest, registry.said)


def _read_from_layers(registry: Registry, layers: list[Mapping[str, Any]], receiver: Receiver) -> None:
    """Searches the layers from the last one, which hides files of those before it."""
    hidden, seen = set[str](), list[str]()
    for layer in reversed(layers):
        _check_readable(layer, registry.said)
        stream = _Layer(registry, str(layer["digest"]))
        wanted = list[str]()
        with tarfile.open(fileobj=cast("Any", stream), mode="r|*", bufsize=_CHUNK) as archive:
            for member in archive:
                path = member.name.removeprefix("./").lstrip("/")
                folder, name = str(PurePosixPath(path).parent), PurePosixPath(path).name
                if name.startswith(_WHITEOUT):
                    hidden.add(str(PurePosixPath(folder) / name.removeprefix(_WHITEOUT)))
                    continue
                if not member.isfile() or path in hidden or not _in_image(path, registry.reference):
                    continue
                seen.append(path)
                if _is_wanted(path, registry.reference):
                    wanted.append(path)
                    _check_single(wanted, registry.reference, registry.said, seen)
                    _extract(archive, member, receiver)
        stream.check()
        if wanted:
            return
    _check_single([], registry.reference, registry.said, seen or ["other files"])


def _in_image(path: str, reference: Reference) -> bool:
    """Whether a path can be that of the model, or of a file beside it."""
    return path == reference.path or PurePosixPath(path).is_relative_to(reference.folder)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, receiver: Receiver) -> None:
    receiver.begin(member.size)
    source = archive.extractfile(member)
    while source is not None and (chunk := source.read(_CHUNK)):
        receiver.write(chunk)


def _check_readable(layer: Mapping[str, Any], said: str) -> None:
    if str(layer.get("mediaType", "")).endswith(("+zstd", ".zstd")):
        raise BadRequest(f"{said} has layers compressed by zstd: build it with gzip, or without compression")


class _Layer:
    """The bytes of a layer as a file that tarfile reads."""

    def __init__(self, registry: Registry, digest: str) -> None:
        self._parts, self._digest, self._said = registry.blob(digest), digest, registry.said
        self._left, self._hash = b"", hashlib.sha256()

    def read(self, size: int) -> bytes:
        while len(self._left) < size and (part := next(self._parts, b"")):
            self._hash.update(part)
            self._left += part
        found, self._left = self._left[:size], self._left[size:]
        return found

    def check(self) -> None:
        """Reads the rest. Raises DigestMismatch."""
        while self.read(_CHUNK):
            pass
        _check_digest(self._hash.hexdigest(), self._digest, self._said)


def _check_digest(found: str, digest: str, said: str) -> None:
    if f"sha256:{found}" != digest:
        raise DigestMismatch(f"{said}: layer {digest} has other bytes, with sha256:{found}: push it again")


def _is_attestation(manifest: Mapping[str, Any]) -> bool:
    return "vnd.docker.reference.type" in (manifest.get("annotations") or {})


def logins_of(path: Path) -> dict[str, str]:
    """Reads `user:password` by registry from a file like ~/.docker/config.json. Raises BadRequest."""
    try:
        entries = json.loads(path.read_bytes())["auths"]
        found = {}
        for host, entry in entries.items():
            login = base64.b64decode(entry["auth"]).decode() if "auth" in entry else ""
            login = login or f"{entry['username']}:{entry['password']}"
            found[host.removeprefix("https://").removesuffix("/v1/").rstrip("/")] = login
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRequest(
            f"secretName: .dockerconfigjson has no registry logins ({_words(error)}): make it by kubectl "
            "create secret docker-registry"
        ) from error
    return found


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
