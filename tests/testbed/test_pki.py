import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from testbed.pki import Authority

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_client_is_who_it_says_and_is_signed_by_the_authority(tmp_path: Path) -> None:
    Authority(tmp_path, NOW).issue("kubelet-edge-a", "system:node:edge-a", "system:nodes")
    issued, authority = certificate(tmp_path / "kubelet-edge-a.crt"), certificate(tmp_path / "ca.crt")

    issued.verify_directly_issued_by(authority)
    [common] = issued.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    [organization] = issued.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert (common.value, organization.value) == ("system:node:edge-a", "system:nodes")
    usages = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_server_is_known_by_its_names_and_addresses(tmp_path: Path) -> None:
    Authority(tmp_path, NOW).issue("api", "api", hosts=["10.96.0.1", "kubernetes.default.svc"])
    names = (
        certificate(tmp_path / "api.crt")
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value
    )

    assert [str(name) for name in names.get_values_for_type(x509.IPAddress)] == ["10.96.0.1"]
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes.default.svc"]


def test_keys_are_for_their_owner_alone_and_fit_their_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path, NOW)
    authority.issue("admin", "admin", "system:masters")
    authority.service_account_keys()

    for name in ("admin", "sa"):
        assert (tmp_path / f"{name}.key").stat().st_mode & 0o777 == 0o600
    key = serialization.load_pem_private_key((tmp_path / "admin.key").read_bytes(), None)
    raw = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    issued = certificate(tmp_path / "admin.crt").public_key()
    assert key.public_key().public_bytes(*raw) == issued.public_bytes(*raw)
