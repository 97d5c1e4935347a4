"""Keeps the authority in a Secret of the operator's namespace, and gives each holder a Secret of its own."""

import base64
import binascii
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_operator.authority import issuing, schedule
from edge_operator.authority.issuing import Pair
from edge_operator.cluster import CONFIG_MAPS, SECRETS, Cluster, Kind, Object
from edge_operator.errors import ObjectRefusedError
from edge_operator.names import MANAGED_BY
from edge_operator.versions import covers

AUTHORITY_SECRET = "edge-authority"  # noqa: S105 - a name
TRUST_CONFIG_MAP = "edge-ca"
"""Name of the ConfigMap with ca.crt in a holder's namespace, for clients that have no certificate."""
_CHAIN, _KEY, _AUTHORITY = "tls.crt", "tls.key", "ca.crt"


@dataclass(frozen=True, slots=True)
class Holder:
    """The owner of a certificate. names: DNS names, with wildcards. published: also in a ConfigMap."""

    namespace: str
    secret: str
    names: frozenset[str]
    published: bool = False


def runtimes(namespace: str, secret: str, domain: str) -> Holder:
    """Returns the holder for all runtimes of a namespace: its names are those of their Services."""
    names = {f"*.{namespace}.svc.{domain}", f"*.{namespace}.svc"}
    return Holder(namespace, secret, frozenset(names), published=True)


def authorities(cluster: Cluster, namespace: str, now: datetime.datetime) -> dict[str, Pair]:
    """Returns the authorities to trust by identity, after making and removing what is due.

    Raises ObjectRefusedError if the Secret is not the operator's or cannot be read: it is never replaced,
    because that would cut off everything that trusts it.
    """
    live = _own(cluster, SECRETS, namespace, AUTHORITY_SECRET)
    pairs = _pairs(live, namespace)
    changes = schedule.changes([issuing.authority_of(pair) for pair in pairs.values()], now)
    kept = {identity: pair for identity, pair in pairs.items() if identity not in changes.remove}
    if changes.make:
        made = issuing.new_authority(now)
        kept[issuing.authority_of(made).identity] = made
    if kept != pairs:
        files = {f"{identity}.crt": pair.certificate for identity, pair in kept.items()}
        files |= {f"{identity}.key": pair.key for identity, pair in kept.items()}
        cluster.apply(_secret(namespace, AUTHORITY_SECRET, "Opaque", files), live, unchanged=True)
    return kept


def provide(cluster: Cluster, holder: Holder, trusted: Mapping[str, Pair], now: datetime.datetime) -> None:
    """Issues the holder's certificate if that is due, and publishes whom clients must trust.

    trusted: from `authorities`. Raises ObjectRefusedError if an object of that name is not the operator's.
    """
    found = [issuing.authority_of(pair) for pair in trusted.values()]
    signing = schedule.signer(found, now)
    if signing is None:
        raise ValueError("there is no valid authority")
    authority = issuing.bundle(pair.certificate for pair in trusted.values())
    live = _own(cluster, SECRETS, holder.namespace, holder.secret)
    if schedule.is_due(_certificate(live), holder.names, found, now):
        common = f"{holder.secret}.{holder.namespace}"
        pair = issuing.issue(trusted[signing.identity], common, holder.names, now)
        files = {_CHAIN: pair.certificate, _KEY: pair.key, _AUTHORITY: authority}
        secret = _secret(holder.namespace, holder.secret, "kubernetes.io/tls", files)
        cluster.apply(secret, live, unchanged=True)
    if holder.published:
        known = _own(cluster, CONFIG_MAPS, holder.namespace, TRUST_CONFIG_MAP)
        body: Object = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": _metadata(holder.namespace, TRUST_CONFIG_MAP),
            "data": {_AUTHORITY: authority.decode()},
        }
        if not covers(known, body):
            cluster.apply(body, known, unchanged=True)


def has_valid(cluster: Cluster, holder: Holder, now: datetime.datetime) -> bool:
    """Whether the holder's Secret has a certificate of the operator that has not expired."""
    live = cluster.fetch(SECRETS, holder.namespace, holder.secret)
    found = _certificate(live) if _is_own(live) else None
    return found is not None and found.names == holder.names and now < found.expires


def write_files(cluster: Cluster, holder: Holder, folder: Path) -> None:
    """Writes the holder's certificate into a folder of this process, as a mounted Secret would have it."""
    files = _files(cluster.fetch(SECRETS, holder.namespace, holder.secret))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if {name: _content(folder / name) for name in files} == files:
        return
    for name, content in files.items():
        partial = folder / f".{name}"
        partial.write_bytes(content)
        partial.chmod(0o600)
        partial.replace(folder / name)


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def _pairs(secret: Object | None, namespace: str) -> dict[str, Pair]:
    files = _files(secret)
    pairs = {}
    for name in (name.removesuffix(".crt") for name in files if name.endswith(".crt")):
        pair = Pair(files[f"{name}.crt"], files.get(f"{name}.key", b""))
        try:
            pairs[issuing.authority_of(pair).identity] = pair
        except ValueError as error:
            raise ObjectRefusedError(
                f"Secret {namespace}/{AUTHORITY_SECRET}: {name}.crt and {name}.key cannot be used ({error}): "
                "restore them, or delete the Secret to make a new authority, which interrupts TLS"
            ) from error
    return pairs


def _certificate(secret: Object | None) -> schedule.Certificate | None:
    """Returns the certificate of a Secret; None if it has none that can be used."""
    files = _files(secret)
    try:
        return issuing.certificate_of(*(files.get(name, b"") for name in (_CHAIN, _KEY, _AUTHORITY)))
    except ValueError:
        return None


def _files(secret: Object | None) -> dict[str, bytes]:
    data: Mapping[str, str] = (secret or {}).get("data") or {}
    files = {}
    for name, text in data.items():
        try:
            files[name] = base64.b64decode(text, validate=True)
        except binascii.Error:
            files[name] = b""
    return files


def _own(cluster: Cluster, kind: Kind, namespace: str, name: str) -> Object | None:
    live = cluster.fetch(kind, namespace, name)
    if live is not None and not _is_own(live):
        raise ObjectRefusedError(
            f"{kind.kind} {namespace}/{name}: belongs to something other than this operator: "
            "delete or rename it"
        )
    return live


def _is_own(live: Object | None) -> bool:
    return covers(((live or {}).get("metadata") or {}).get("labels") or {}, MANAGED_BY)


def _secret(namespace: str, name: str, kind: str, files: Mapping[str, bytes]) -> Object:
    data = {file: base64.b64encode(content).decode() for file, content in sorted(files.items())}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(namespace, name),
        "type": kind,
        "data": data,
    }


def _metadata(namespace: str, name: str) -> Object:
    return {"name": name, "namespace": namespace, "labels": dict(MANAGED_BY)}
