"""Whether a Triton server accepts model control over gRPC without a key. Blocking.

`grpc` is imported by the first check, since most pools name no gRPC endpoint.
"""

from pathlib import Path

from edge_operator.certificates import AUTHORITY, CHAIN, KEY, client_context
from edge_operator.errors import CertificatesError, TritonUnreachableError, TritonUntrustedError

_INDEX = "/inference.GRPCInferenceService/RepositoryIndex"
_RESTRICTED = "restricted"
"""In Triton's message to a client without the key, whose status is UNAVAILABLE as that of a server away."""
_TIMEOUT = 5.0


def control_open(address: str, certificates: Path | None) -> bool:
    """Whether the server lists its model repository without a key.

    address: grpc(s)://host:port. Raises TritonUnreachableError without a response of Triton.
    """
    import grpc

    target = address.partition("://")[2]
    doing = f"checking model control of Triton at {address}"
    if address.startswith("grpcs://"):
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(*_files(doing, certificates)))
    else:
        channel = grpc.insecure_channel(target)
    with channel:
        index: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_INDEX)
        try:
            index(b"", timeout=_TIMEOUT)  # a message without fields
        except grpc.RpcError as error:
            said = " ".join(str(error.details()).split())[:300]
            if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
                return False
            if error.code() is grpc.StatusCode.UNAVAILABLE and _RESTRICTED in said:
                return False
            raise TritonUnreachableError(f"{doing} failed: {error.code().name}: {said}") from error
    return True


def _files(doing: str, certificates: Path | None) -> tuple[bytes, bytes, bytes]:
    """Returns the authority, the key and the certificate, once they are known to fit together."""
    try:
        if certificates is None:
            raise CertificatesError(
                "scheme HTTPS requires certificates for the operator: set operator.tlsSecret of the chart"
            )
        client_context(certificates)
        authority, key, chain = ((certificates / name).read_bytes() for name in (AUTHORITY, KEY, CHAIN))
    except (CertificatesError, OSError) as error:
        raise TritonUntrustedError(f"{doing} failed: {error}") from error
    return authority, key, chain
