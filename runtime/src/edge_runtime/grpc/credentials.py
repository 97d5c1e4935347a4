"""TLS credentials of the gRPC server, which are reloaded for each connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import grpc

from edge_runtime.tls.certificates import Certificates, Material

# The stubs do not know that None keeps the configuration.
_Fetch = Callable[[], grpc.ServerCertificateConfiguration]


def server_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Credentials that follow changes of the certificates.

    gRPC for Python requests client certificates only if it requires them.
    """
    handed = certificates.current

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal handed
        if certificates.current is handed:
            return None  # unchanged: gRPC keeps its configuration
        handed = certificates.current
        return _configuration(handed)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(handed), cast("_Fetch", fetch), certificates.clients != "optional"
    )


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.chain)], root_certificates=material.authority
    )
