"""Certificates in a mounted folder, and what speaks TLS with them: always with the last good ones.

Kubernetes changes a mounted Secret by swapping a link, cert-manager renews certificates weeks before they
end. So the files are looked at every few seconds; handshakes from then on use the new ones, connections that
exist go on. New files that cannot be used change nothing but the log.
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

Clients = Literal["require", "optional"]

_log = logging.getLogger(__name__)

_EVERY: Final = 2.0
_CHAIN, _KEY, _AUTHORITY = "tls.crt", "tls.key", "ca.crt"
_Stamp = tuple[tuple[int, int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Material:
    """One state of the folder. `expires` is in seconds of Unix time."""

    chain: bytes
    key: bytes
    authority: bytes
    server: ssl.SSLContext
    client: ssl.SSLContext
    expires: float


class Certificates:
    """tls.crt, tls.key and ca.crt of one folder.

    server: for listening; callers show a certificate that ca.crt signed, or with `optional` may show none.
    client: for calling others, whose certificates are checked by ca.crt, names included.
    """

    def __init__(
        self, folder: Path, clients: Clients = "require", clock: Callable[[], float] = time.time
    ) -> None:
        """Raises BadCertificates when there is nothing to begin with."""
        if clients not in get_args(Clients):
            raise BadCertificates(f'--tls-clients: "{clients}" is neither {" nor ".join(get_args(Clients))}')
        self.folder, self.clients, self._clock = folder, clients, clock
        self._seen = _stamp(folder)
        self._refused: _Stamp | None = None
        self.current = _load(folder, clients)
        if self.current.expires <= clock():
            _log.warning(
                "%s: it ended on %s, so peers will refuse it: renew it, or set this machine's clock",
                folder / _CHAIN,
                _day(self.current.expires),
            )
        self.server = _following(ssl.PROTOCOL_TLS_SERVER, lambda: self.current.server)
        self.client = _following(ssl.PROTOCOL_TLS_CLIENT, lambda: self.current.client)

    def look(self) -> bool:
        """Takes over what changed in the folder, if it is good; whether it did."""
        stamp = _stamp(self.folder)
        if stamp in (self._seen, self._refused):
            return False
        try:
            found = _load(self.folder, self.clients)
            if _stamp(self.folder) != stamp:  # it changes at this very moment: the next look tells more
                return False
            if found.expires <= min(self._clock(), self.current.expires):
                raise BadCertificates(
                    f"{self.folder / _CHAIN}: it ended on {_day(found.expires)}; put a certificate there "
                    "that is valid"
                )
        except BadCertificates as error:
            if _stamp(self.folder) != stamp:
                return False
            self._refused = stamp
            _log.error("%s. The certificate until %s stays in use", error, _day(self.current.expires))
            return False
        self.current, self._seen, self._refused = found, stamp, None
        _log.info("%s: new certificates until %s are in use", self.folder, _day(found.expires))
        return True

    async def watch(self, every: float = _EVERY) -> None:
        """Looks again and again; runs until cancelled."""
        while True:
            await asyncio.sleep(every)
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self.look)


class _Following(ssl.SSLContext):
    """A context whose connections each begin with the one that is current then.

    Changing one in place would keep the authorities that it knew before, and its sessions.
    """

    current: Callable[[], ssl.SSLContext]

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        name = cast("str | None", server_hostname)
        return self.current().wrap_bio(incoming, outgoing, server_side, name, session)


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
                f"{folder / name}: it cannot be read ({error.strerror or error}); mount a Secret with "
                f"{_CHAIN}, {_KEY} and {_AUTHORITY}"
            ) from error
    try:
        expires = not_after(parts[_CHAIN].decode("latin-1"))
    except ValueError as error:
        raise BadCertificates(f"{folder / _CHAIN}: {error}; write the certificate there in PEM") from error
    server, client = (ssl.SSLContext(p) for p in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT))
    server.verify_mode = ssl.CERT_OPTIONAL if clients == "optional" else ssl.CERT_REQUIRED
    server.set_alpn_protocols(["http/1.1"])
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(cadata=parts[_AUTHORITY].decode("latin-1"))
        except (ssl.SSLError, ValueError) as error:
            raise BadCertificates(
                f"{folder / _AUTHORITY}: it holds no certificate of an authority ({_said(error)}); "
                "write there in PEM the one that signs the stages' certificates"
            ) from error
        try:
            context.load_cert_chain(folder / _CHAIN, folder / _KEY, password=lambda: "")
        except (ssl.SSLError, OSError, ValueError) as error:
            raise BadCertificates(
                f"{folder / _KEY}: it is not the key of {_CHAIN} ({_said(error)}); "
                "put the two there that belong together, the key without a password"
            ) from error
    return Material(parts[_CHAIN], parts[_KEY], parts[_AUTHORITY], server, client, expires)


def _stamp(folder: Path) -> _Stamp:
    """What differs when a file was written or a link above it swapped."""
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
