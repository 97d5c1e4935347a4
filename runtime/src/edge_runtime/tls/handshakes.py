"""Counts TLS handshakes of clients that fail: the event loop reports them to no one.

gRPC has a TLS implementation of its own, whose handshakes are not counted: grpc.aio has no hook for them,
channelz counts calls and sockets, and the metrics of a server of grpc.aio reach no telemetry plugin
(https://github.com/grpc/grpc/issues/39800). A client whose handshake fails gets UNAVAILABLE.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final, Literal

Cause = Literal["certificate", "other"]
Failed = Callable[[Cause], object]

_OF_CERTIFICATES: Final = ("CERTIFICATE", "UNKNOWN_CA", "DECRYPT_ERROR")
"""Parts of OpenSSL's names of errors, its own and those that the client reports.

The last is of a certificate that another authority of the same name has signed.
"""


def cause_of(error: ssl.SSLError) -> Cause:
    """Returns whether one side did not accept the certificate of the other, or missed it."""
    reason = error.reason or ""
    return "certificate" if any(part in reason for part in _OF_CERTIFICATES) else "other"


def counted(failed: Failed) -> type[ssl.SSLObject]:
    """Returns the class of connections whose failed handshakes are counted."""

    class Counted(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                failed(cause_of(error))
                raise

    return Counted
