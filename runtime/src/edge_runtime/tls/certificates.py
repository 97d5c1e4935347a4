"""TLS contexts from certificates in a mounted folder; always the last valid ones.

Kubernetes updates a mounted Secret by replacing a symbolic link, and cert-manager renews certificates weeks
before they expire. The files are therefore checked every few seconds. New handshakes use new certificates;
open connections keep theirs. Invalid new files are logged and otherwise ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, cast, get_args

from edge_runtime.errors import BadCertificates
from edge_runtime.tls.expiries import not_after
from edge_runtime.tls.handshakes import Failed, counted

Clients = Literal["require", "optional"]

_log = logging.getLogger(__name__)

_EVERY: Final = 2.0
_CHAIN, _KEY, _AUTHORITY = "tls.crt", "tls.key", "ca.crt"
_Stamp = tuple[tuple[int, int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Material:
    """One version of the folder. `expires` is Unix time in seconds."""

    chain: bytes
    key: bytes
    authority: bytes
    server: ssl.SSLContext
    client: ssl.SSLContext
    expires: float


class Certificates:
    """tls.crt, tls.key and ca.crt of one folder.

    server: context for listening; clients must present a certificate signed by ca.crt, or may omit it with
      `optional`.
    client: context for connecting; server certificates are verified against ca.crt, including names.
    """

    def __init__(
        self, folder: Path, clients: Clients = "require", clock: Callable[[], float] = time.time
    ) -> None:
        """Raises BadCertificates if the files are not usable at the start."""
        if clients not in get_args(Clients):
            raise BadCertificates(
                f'--tls-clients: "{clients}" is not valid: use {" or ".join(get_args(Clients))}'
            )
        self.folder, self.clients, self._clock = folder, clients, clock
        self._seen = _stamp(folder)
        self._refused: _Stamp | None = None
        self.current = _load(folder, clients)
        if self.current.expires <= clock():
            _log.warning(
                "%s: expired on %s, so peers will reject it: renew it, or set this machine's clock",
                folder / _CHAIN,
                _day(self.current.expires),
            )
        self._failed: Failed | None = None
        self.server = _following(ssl.PROTOCOL_TLS_SERVER, lambda: self.current.server)
        self.server.sslobject_class = counted(lambda cause: self._failed and self._failed(cause))
        self.client = _following(ssl.PROTOCOL_TLS_CLIENT, lambda: self.current.client)

    def count_failed(self, failed: Failed) -> None:
        """Has handshakes counted that clients of `server` begin and that fail."""
        self._failed = failed

    def look(self) -> bool:
        """Loads changed files if they are valid. Returns whether it did."""
        stamp = _stamp(self.folder)
        if stamp in (self._seen, self._refused):
            return False
        try:
            found = _load(self.folder, self.clients)
            if _stamp(self.folder) != stamp:  # changed while it was read: wait for the next check
                return False
            if found.expires <= min(self._clock(), self.current.expires):
                raise BadCertificates(
                    f"{self.folder / _CHAIN}: expired on {_day(found.expires)}: mount a valid certificate"
                )
        except BadCertificates as error:
            if _stamp(self.folder) != stamp:
                return False
            self._refused = stamp
            _log.error("%s; still using the certificate valid until %s", error, _day(self.current.expires))
            return False
        self.current, self._seen, self._refused = found, stamp, None
        _log.info("%s: using new certificates valid until %s", self.folder, _day(found.expires))
        return True

    async def watch(self, every: float = _EVERY) -> None:
        """Checks the files periodically. Runs until cancelled."""
        while True:
            await asyncio.sleep(every)
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self.look)


class _Following(ssl.SSLContext):
    """A context that hands each new connection to the current context.

    Changing a context in place would keep its old authorities and sessions.
    """

    current: Callable[[], ssl.SSLContext]

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        name, context = cast("str | None", server_hostname), self.current()
        context.sslobject_class = self.sslobject_class
        return context.wrap_bio(incoming, outgoing, server_side, name, session)


def _following(protocol: int, current: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    context = _Following(protocol)
    context.current = current
    return context


def _load(folder: Path, clients: Clients) -> Material:
    parts = {}
    for name in (_CHAIN, _KEY, _AUTHORITY):
        try:
            parts[name] = (folder / name).read_bytes()
        except OSError as error:
            raise BadCertificates(
                f"{folder / name}: cannot be read ({error.strerror or error}): mount a Secret with "
                f"{_CHAIN}, {_KEY} and {_AUTHORITY}"
            ) from error
    try:
        expires = not_after(parts[_CHAIN].decode("latin-1"))
    except ValueError as error:
        raise BadCertificates(f"{folder / _CHAIN}: {error}: mount a certificate in PEM") from error
    server, client = (ssl.SSLContext(p) for p in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT))
    server.verify_mode = ssl.CERT_OPTIONAL if clients == "optional" else ssl.CERT_REQUIRED
    server.set_alpn_protocols(["http/1.1"])
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(cadata=parts[_AUTHORITY].decode("latin-1"))
        except (ssl.SSLError, ValueError) as error:
            raise BadCertificates(
                f"{folder / _AUTHORITY}: no certificate of an authority ({_said(error)}): "
                "mount in PEM the one that signs the stages' certificates"
            ) from error
        try:
            context.load_cert_chain(folder / _CHAIN, folder / _KEY, password=lambda: "")
        except (ssl.SSLError, OSError, ValueError) as error:
            raise BadCertificates(
                f"{folder / _KEY}: does not match {_CHAIN} ({_said(error)}): "
                "mount a matching pair, the key without a password"
            ) from error
    return Material(parts[_CHAIN], parts[_KEY], parts[_AUTHORITY], server, client, expires)


def _stamp(folder: Path) -> _Stamp:
    """Changes whenever a file is written or a link above it is replaced."""
    found: list[tuple[int, int, int, int] | None] = []
    for name in (_CHAIN, _KEY, _AUTHORITY):
        try:
            stat = (folder / name).stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _said(error: Exception) -> str:
    return (getattr(error, "reason", None) or str(error) or "unreadable").replace("_", " ").lower()


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
