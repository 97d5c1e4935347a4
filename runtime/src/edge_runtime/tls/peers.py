"""Which clients are admitted at the ports for other nodes: the runtimes of the same namespace.

The operator issues one certificate for all runtimes of a namespace. It is for the names of their Services,
`*.NAMESPACE.svc`, and no other certificate of an installation is for that name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Literal

from edge_runtime.errors import Forbidden

Transport = Literal["http", "grpc"]

_log = logging.getLogger(__name__)

_QUIET: Final = 60.0  # seconds between two log lines about refused clients
_MOST_NAMED: Final = 3


class NamespacePeers:
    """Admits the runtimes of one namespace by the DNS names of their certificate."""

    def __init__(
        self,
        namespace: str,
        refused: Callable[[Transport], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """refused: counts a refused connection over HTTP or call over gRPC."""
        self._name = f"*.{namespace}.svc"
        self._refused, self._clock = refused, clock
        self._silent_until = float("-inf")

    def admit(self, transport: Transport, names: Collection[str]) -> None:
        """Raises Forbidden for the certificate of another namespace, of the operator or of the model store.

        names: the DNS names of a certificate that was verified, in any case of letters.
        """
        if self._name in {name.lower() for name in names}:
            return
        self._refused(transport)
        shown = ", ".join(sorted(names)[:_MOST_NAMED]) or "no DNS name"
        if self._clock() >= self._silent_until:
            self._silent_until = self._clock() + _QUIET
            _log.warning(
                "ports for other nodes: refused a client over %s: its certificate is for %s, not for %s",
                transport,
                shown,
                self._name,
            )
        raise Forbidden(
            f'client certificate: "{shown}" is not {self._name}, the name of the runtimes of this namespace: '
            "send the request to a port for clients"
        )


def dns_names(certificate: Mapping[str, Any] | None) -> list[str]:
    """Returns the DNS names of a certificate as `ssl` describes it; none without a certificate."""
    found = (certificate or {}).get("subjectAltName", ())
    return [name for kind, name in found if kind == "DNS"]
