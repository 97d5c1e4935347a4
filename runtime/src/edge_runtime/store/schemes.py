"""Model sources by the scheme of a storageUri.

A source is added here; `edge_api.model_sources.SCHEMES` lets manifests name it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Final

from edge_api.words import shown
from edge_runtime.errors import NotFound, Unreachable, UnsupportedScheme
from edge_runtime.slicing.tensordata import inside
from edge_runtime.store.addresses import Address, check_length, in_folder, on_disk, stored, under_url, url
from edge_runtime.store.downloads import download
from edge_runtime.store.holdings import Holdings
from edge_runtime.store.reachable import Reachable

_CHUNK: Final = 1 << 20

Write = Callable[[bytes], None]


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
    def read(self, target: str, origin: Origin, write: Write, said: str) -> None:
        """Passes the bytes to `write`. Raises NotFound, Refused or Unreachable, beginning with `said`."""


class StoreFiles(Source):
    """Files that were uploaded to the model store."""

    scheme = "store"

    def target(self, uri: str, said: str) -> str:
        return stored(uri, said)

    def beside(self, address: Address, location: str) -> Address:
        return in_folder(address, location)

    def read(self, target: str, origin: Origin, write: Write, said: str) -> None:
        with origin.holdings.found_file(target).open("rb") as source:
            while chunk := source.read(_CHUNK):
                write(chunk)


class LocalFiles(Source):
    """Files in the shared folders of the model store."""

    scheme = "file"

    def target(self, uri: str, said: str) -> str:
        return on_disk(uri, said)

    def beside(self, address: Address, location: str) -> Address:
        inside(Path(address.target).parent, location)
        return in_folder(address, location)

    def read(self, target: str, origin: Origin, write: Write, said: str) -> None:
        path = origin.allowed.shared(target, said)
        try:
            source = path.open("rb")  # an error of `write` is not one of reading
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError) as error:
            raise NotFound(
                f"{said} cannot be read: there is no such file where the model store runs"
            ) from error
        except OSError as error:
            raise Unreachable(f"{said} cannot be read ({error.strerror})") from error
        with source:
            while chunk := source.read(_CHUNK):
                write(chunk)


class Https(Source):
    """Files on a web server; redirects are followed."""

    scheme = "https"

    def target(self, uri: str, said: str) -> str:
        return url(uri, said)

    def beside(self, address: Address, location: str) -> Address:
        return under_url(address, location)

    def read(self, target: str, origin: Origin, write: Write, said: str) -> None:
        download(target, write, said, origin.allowed)


class Http(Https):
    """The same without TLS."""

    scheme = "http"


def by_scheme(*sources: Source) -> Mapping[str, Source]:
    """Returns sources by scheme."""
    return MappingProxyType({source.scheme: source for source in sources})


SOURCES = by_scheme(StoreFiles(), Https(), Http(), LocalFiles())


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
