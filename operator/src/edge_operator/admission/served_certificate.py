"""The certificate of the webhook: read from a folder again when its files change, without a restart."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

from edge_operator.admission import metrics
from edge_operator.authority.issuing import expiry_of
from edge_operator.certificates import CHAIN, KEY, words
from edge_operator.errors import CertificatesError

EVERY: Final = 2.0
"""Seconds between two looks at the files, which read both: a few kilobytes."""
_log = logging.getLogger(__name__)


class Files(NamedTuple):
    """The content of tls.crt and tls.key."""

    chain: bytes
    key: bytes


class ServedCertificate:
    """A server context whose new connections present the newest usable pair of the folder."""

    def __init__(self, folder: Path) -> None:
        """Raises CertificatesError if the folder has no usable pair."""
        self._folder = folder
        self._seen = _read(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(self._seen)

    def look(self) -> bool:
        """Loads the files if they changed. Returns whether they are served now.

        Raises CertificatesError, once for each change, if they cannot be used: the former pair stays in use.
        """
        found = _read(self._folder)
        if found == self._seen:
            return False
        self._seen = found
        self._load(found)
        return True

    async def follow(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Looks every EVERY seconds until it is cancelled."""
        while True:
            await pause(EVERY)
            try:
                if self.look():
                    _log.info("%s: the new certificate is served", self._folder / CHAIN)
            except CertificatesError as error:
                _log.warning("%s; still serving the certificate that was loaded before", error)

    def _load(self, files: Files) -> None:
        chain, key = self._folder / CHAIN, self._folder / KEY
        try:
            # A pair that does not match must not reach the context in use.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, password=lambda: "")
            self.context.load_cert_chain(chain, key, password=lambda: "")
            metrics.CERTIFICATE_EXPIRY.set(expiry_of(files.chain).timestamp())
        except (OSError, ValueError) as error:
            said = words(error) if isinstance(error, OSError) else str(error)
            raise CertificatesError(
                f"{chain} and {key}: cannot be used ({said}): put a matching pair into the Secret, with a "
                "key without a password"
            ) from error


def _read(folder: Path) -> Files:
    try:
        return Files((folder / CHAIN).read_bytes(), (folder / KEY).read_bytes())
    except OSError as error:
        raise CertificatesError(
            f"{folder}: cannot read {CHAIN} and {KEY} ({words(error)}): mount a Secret of type "
            "kubernetes.io/tls"
        ) from error
