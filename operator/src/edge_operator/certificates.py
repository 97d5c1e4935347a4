"""The operator's certificates: tls.crt, tls.key and ca.crt in a folder, as Kubernetes mounts a Secret."""

import ssl
from pathlib import Path

from edge_operator.errors import CertificatesError
from edge_operator.settings import Settings

AUTHORITY, CHAIN, KEY = "ca.crt", "tls.crt", "tls.key"


def client_context(folder: Path) -> ssl.SSLContext:
    """Returns a client context that trusts ca.crt alone and presents tls.crt.

    Raises CertificatesError with the file that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    authority, chain, key = (folder / name for name in (AUTHORITY, CHAIN, KEY))
    try:
        context.load_verify_locations(cafile=authority)
    except OSError as error:
        raise CertificatesError(
            f"{authority}: cannot read a CA certificate ({words(error)}): put the certificate of the CA that "
            "signed the servers' certificates into the Secret"
        ) from error
    try:
        context.load_cert_chain(chain, key, password=lambda: "")
    except OSError as error:
        raise CertificatesError(
            f"{chain} and {key}: cannot be used ({words(error)}): put a matching pair into the Secret, "
            "with a key without a password"
        ) from error
    return context


def authority_of(settings: Settings) -> str:
    """Returns the CA that the operator issues certificates with, in PEM; empty if it issues none."""
    if not settings.issues_certificates:
        return ""
    try:
        return (Path(settings.tls_dir) / AUTHORITY).read_text()
    except OSError:
        return ""  # not issued yet


def words(error: OSError) -> str:
    """Returns the cause of a failure: OpenSSL's reason, else the system's."""
    reason = getattr(error, "reason", None) or error.strerror or str(error) or type(error).__name__
    return str(reason).replace("_", " ").lower()
