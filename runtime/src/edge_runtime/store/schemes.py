"""Model sources by the scheme of a storageUri.

A source is added here; `edge_api.model_sources.SCHEMES` lets manifests name it.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Final

from edge_api.words import shown
from edge_runtime.errors import NotFound, Refused, Unreachable, UnsupportedScheme
from edge_runtime.slicing.tensordata import inside
from edge_runtime.store.addresses import (
    Address,
    check_length,
    in_bucket,
    in_claim,
    in_folder,
    on_disk,
    stored,
    under_url,
    url,
)
from edge_runtime.store.downloads import download
from edge_runtime.store.holdings import Holdings
from edge_runtime.store.reachable import Reachable
from edge_runtime.store.receiving import Receiver
from edge_runtime.store.remote.apart import read_apart
from edge_runtime.store.remote.references import reference_of

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """What sources read from: the files of a namespace in the store, and what is allowed outside of it."""

    holdings: Holdings
    allowed: Reachable


class Source(ABC):
    """Where models are read from."""

    scheme: ClassVar[str]

    @abstractmethod
    def target(self, uri: str, said: str) -> str:
        """Returns what is read; BadRequest, beginning with `said`, if the address is wrong. No I/O."""

    @abstractmethod
    def beside(self, address: Address, location: str) -> Address:
        """Returns the file at a location in the same folder. BadRequest if it is outside of it."""

    @abstractmethod
    def read(self, target: str, origin: Origin, receiver: Receiver, said: str) -> None:
        """Passes the bytes to `receiver`. Raises NotFound, Refused or Unreachable, beginning with `said`."""


class StoreFiles(Source):
    """Files that were uploaded to the model store."""

    scheme = "store"

    def target(self, uri: str, said: str) -> str:
        return stored(uri, said)

    def beside(self, address: Address, location: str) -> Address:
        return in_folder(address, location)

    def read(self, target: str, origin: Origin, receiver: Receiver, said: str) -> None:
        path = origin.holdings.found_file(target)
        with path.open("rb") as source:
            receiver.begin(path.stat().st_size)
            while chunk := source.read(_CHUNK):
                receiver.write(chunk)


class LocalFiles(Source):
    """Files in the shared folders of the model store."""

    scheme = "file"

    def target(self, uri: str, said: str) -> str:
        return on_disk(uri, said)

    def beside(self, address: Address, location: str) -> Address:
        inside(Path(address.target).parent, location)
        return in_folder(address, location)

    def read(self, target: str, origin: Origin, receiver: Receiver, said: str) -> None:
        path = origin.allowed.shared(target, said)
        try:
            source = path.open("rb")  # an error of the receiver is not one of reading
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError) as error:
            raise NotFound(
                f"{said} cannot be read: there is no such file where the model store runs"
            ) from error
        except OSError as error:
            raise Unreachable(f"{said} cannot be read ({error.strerror})") from error
        with source:
            receiver.begin(os.fstat(source.fileno()).st_size)
            while chunk := source.read(_CHUNK):
                receiver.write(chunk)


class Https(Source):
    """Files on a web server; redirects are followed."""

    scheme = "https"

    def target(self, uri: str, said: str) -> str:
        return url(uri, said)

    def beside(self, address: Address, location: str) -> Address:
        return under_url(address, location)

    def read(self, target: str, origin: Origin, receiver: Receiver, said: str) -> None:
        download(target, receiver, said, origin.allowed)


class Http(Https):
    """The same without TLS."""

    scheme = "http"


class Bucket(Source):
    """Files of a bucket, or of a repository of models, that every client may read."""

    def target(self, uri: str, said: str) -> str:
        return in_bucket(uri, said)

    def beside(self, address: Address, location: str) -> Address:
        return in_folder(address, location)

    def read(self, target: str, origin: Origin, receiver: Receiver, said: str) -> None:
        read_apart(self.scheme, target, receiver, said, origin.allowed)


class S3(Bucket):
    """Objects of S3, or of a server with its API."""

    scheme = "s3"


class GoogleStorage(Bucket):
    """Objects of Google Cloud Storage."""

    scheme = "gs"


class HuggingFace(Bucket):
    """Files of repositories on the Hugging Face Hub."""

    scheme = "hf"


class Registries(Source):
    """Files in images, and artifacts, of OCI registries."""

    scheme = "oci"

    def target(self, uri: str, said: str) -> str:
        rest = uri.partition("://")[2]
        reference_of(rest, said)
        return rest

    def beside(self, address: Address, location: str) -> Address:
        reference = reference_of(address.target, address.uri)
        image, folder = address.target.partition("#")[0], reference.folder
        made = f"{image}#{location if folder == '.' else f'{folder}/{location}'}"
        return Address(f"oci://{made}", address.scheme, made)

    def read(self, target: str, origin: Origin, receiver: Receiver, said: str) -> None:
        read_apart(self.scheme, target, receiver, said, origin.allowed)


class Claims(Source):
    """Files of PersistentVolumeClaims, which a Job of the service's namespace mounts."""

    scheme = "pvc"

    def target(self, uri: str, said: str) -> str:
        return in_claim(uri, said)

    def beside(self, address: Address, location: str) -> Address:
        return in_folder(address, location)

    def read(self, target: str, origin: Origin, receiver: Receiver, said: str) -> None:
        raise Refused(
            f"{said} is on a volume, which the model store cannot mount: name it in an InferenceService, or "
            "upload the file and use store://"
        )


def by_scheme(*sources: Source) -> Mapping[str, Source]:
    """Returns sources by scheme."""
    return MappingProxyType({source.scheme: source for source in sources})


SOURCES = by_scheme(
    StoreFiles(), Https(), Http(), LocalFiles(), S3(), GoogleStorage(), HuggingFace(), Registries(), Claims()
)


def source_of(address: Address) -> Source:
    """Returns the source of an address."""
    return SOURCES[address.scheme]


def address_of(uri: str, field: str) -> Address:
    """Returns the address of a storageUri; BadRequest or UnsupportedScheme names the field and the fix."""
    said = f"{field}: {shown(uri)}"
    check_length(uri, said)
    scheme, mark, _ = uri.partition(":")
    source = SOURCES.get(scheme.lower()) if mark else None
    if source is None:
        known = ", ".join(f"{name}://" for name in SOURCES)
        raise UnsupportedScheme(f'{said} has scheme "{scheme if mark else ""}": use one of {known}')
    return Address(uri, source.scheme, source.target(uri, said))
