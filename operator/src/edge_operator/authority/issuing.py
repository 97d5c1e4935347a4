"""Makes and reads X.509 certificates. Only this module uses cryptography."""

import datetime
from collections.abc import Collection, Iterable
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge_operator.authority.schedule import AUTHORITY_LIFETIME, LIFETIME, Authority, Certificate

CLOCK_SLACK = datetime.timedelta(hours=1)
"""For which a certificate is valid before it is made: clocks of edge nodes differ."""


class Pair(NamedTuple):
    """A certificate and its private key without a password, both in PEM."""

    certificate: bytes
    key: bytes


def new_authority(now: datetime.datetime) -> Pair:
    """Returns a self-signed authority that may sign certificates, but no other authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    identity = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _name(f"edge-intelligence {identity.digest.hex()[:16]}")
    builder = _builder(name, name, key.public_key(), now, now + AUTHORITY_LIFETIME)
    signed = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(identity, critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pair(signed, key)


def issue(signer: Pair, common_name: str, names: Collection[str], now: datetime.datetime) -> Pair:
    """Returns a certificate for a server with these DNS names, which is also a client's.

    It expires after LIFETIME, at the latest with its signer. Raises ValueError if `signer` cannot be read.
    """
    authority = x509.load_pem_x509_certificate(signer.certificate)
    signing = serialization.load_pem_private_key(signer.key, password=None)
    if not isinstance(signing, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is not an elliptic curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    identity = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    expires = min(now + LIFETIME, authority.not_valid_after_utc)
    builder = _builder(_name(common_name), authority.subject, key.public_key(), now, expires)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    signed = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in sorted(names)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identity), critical=False
        )
        .sign(signing, hashes.SHA256())
    )
    return _pair(signed, key)


def bundle(authorities: Iterable[bytes]) -> bytes:
    """Returns the content of ca.crt, in a fixed order."""
    return b"".join(sorted(authorities))


def authority_of(pair: Pair) -> Authority:
    """Returns what the schedule needs of an authority. Raises ValueError if the pair does not match."""
    found = x509.load_pem_x509_certificate(pair.certificate)
    key = serialization.load_pem_private_key(pair.key, password=None)
    if key.public_key() != found.public_key():
        raise ValueError("certificate and key do not match")
    return Authority(_identity(found), found.not_valid_before_utc + CLOCK_SLACK, found.not_valid_after_utc)


def certificate_of(chain: bytes, key: bytes, authorities: bytes) -> Certificate:
    """Returns what the schedule needs of tls.crt, tls.key and ca.crt.

    Raises ValueError if they cannot be used.
    """
    found = x509.load_pem_x509_certificate(chain)
    if serialization.load_pem_private_key(key, password=None).public_key() != found.public_key():
        raise ValueError("tls.crt and tls.key do not match")
    try:
        signer = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        trusted = frozenset(map(_identity, x509.load_pem_x509_certificates(authorities)))
    except x509.ExtensionNotFound as error:
        raise ValueError(f"the certificate has no {error.oid}") from error
    return Certificate(
        (signer.key_identifier or b"").hex(),
        trusted,
        frozenset(names.get_values_for_type(x509.DNSName)),
        found.not_valid_before_utc + CLOCK_SLACK,
        found.not_valid_after_utc,
    )


def expiry_of(chain: bytes) -> datetime.datetime:
    """Returns when the first certificate of a chain expires. Raises ValueError if it cannot be read."""
    return x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    expires: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SLACK)
        .not_valid_after(expires)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _identity(certificate: x509.Certificate) -> str:
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(certificate.public_bytes(pem), private)
