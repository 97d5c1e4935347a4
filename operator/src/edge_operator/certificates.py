"""The operator's own certificates: tls.crt, tls.key and ca.crt in a folder, as Kubernetes mounts a Secret."""

import ssl
from pathlib import Path

from edge_operator.errors import CertificatesError

_AUTHORITY, _CHAIN, _KEY = "ca.crt", "tls.crt", "tls.key"


def client_context(folder: Path, kind: type[ssl.SSLContext] = ssl.SSLContext) -> ssl.SSLContext:
    """What servers are asked with: theirs is checked by ca.crt alone, tls.crt is shown to them.

    kind: the class of the context. CertificatesError names the file that cannot be used.
    """
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    authority, chain, key = (folder / name for name in (_AUTHORITY, _CHAIN, _KEY))
    try:
        context.load_verify_locations(cafile=authority)
    except OSError as error:
        raise CertificatesError(
            f"{authority}: no certificate of an authority can be read there ({words(error)}); put the one "
            "into the Secret that signed the servers'"
        ) from error
    try:
        context.load_cert_chain(chain, key, password=lambda: "")
    except OSError as error:
        raise CertificatesError(
            f"{chain} and {key}: they cannot be used ({words(error)}); put the two into the Secret that "
            "belong together, the key without a password"
        ) from error
    return context


def words(error: OSError) -> str:
    """The cause of a failure: OpenSSL's reason, else the system's."""
    reason = getattr(error, "reason", None) or error.strerror or str(error) or type(error).__name__
    return str(reason).replace("_", " ").lower()
