"""When authorities and certificates are made, renewed and removed. Pure.

An authority is replaced with overlap. Everything trusts a new one for DISTRIBUTION before it signs, so that
no certificate is presented to a peer that does not know its signer. The former one stays trusted until the
last certificate that it signed has expired.
"""

import datetime
from collections.abc import Collection
from fractions import Fraction
from typing import NamedTuple

AUTHORITY_LIFETIME = datetime.timedelta(days=3650)
LIFETIME = datetime.timedelta(days=90)
"""Of a certificate for servers and clients."""
DISTRIBUTION = datetime.timedelta(days=7)
"""For which a new authority is trusted before it signs: peers reload files within minutes."""
_RENEWED_AT = Fraction(2, 3)


class Authority(NamedTuple):
    """A certificate authority. identity: of its key, in hexadecimal."""

    identity: str
    made: datetime.datetime
    expires: datetime.datetime


class Certificate(NamedTuple):
    """A certificate with what is mounted beside it. trusted: identities of the authorities in ca.crt."""

    signer: str
    trusted: frozenset[str]
    names: frozenset[str]
    made: datetime.datetime
    expires: datetime.datetime


class Changes(NamedTuple):
    """What is due among the authorities. remove: identities."""

    make: bool
    remove: frozenset[str]


def changes(authorities: Collection[Authority], now: datetime.datetime) -> Changes:
    """Returns whether an authority is to be made, and which are trusted no longer."""
    valid = _valid(authorities, now)
    newest = max(valid, key=lambda each: each.made, default=None)
    signing = signer(valid, now)
    remove = {each.identity for each in authorities if each not in valid}
    if signing is not None and now >= signing.made + DISTRIBUTION + LIFETIME:
        remove |= {each.identity for each in valid if each.made < signing.made}
    return Changes(newest is None or _worn(newest.made, newest.expires, now), frozenset(remove))


def signer(authorities: Collection[Authority], now: datetime.datetime) -> Authority | None:
    """Returns the newest authority that everything trusts, else the oldest; None without a valid one."""
    valid = _valid(authorities, now)
    distributed = [each for each in valid if now >= each.made + DISTRIBUTION]
    if distributed:
        return max(distributed, key=lambda each: each.made)
    return min(valid, key=lambda each: each.made, default=None)


def is_due(
    certificate: Certificate | None,
    names: frozenset[str],
    authorities: Collection[Authority],
    now: datetime.datetime,
) -> bool:
    """Whether to issue a certificate for these names.

    It is due if there is no usable one, if its signer, names or trusted authorities are not the wanted ones,
    and from two thirds of its life on. certificate: None without a usable one.
    """
    if certificate is None:
        return True
    signing = signer(authorities, now)
    return (
        signing is None
        or certificate.signer != signing.identity
        or certificate.names != names
        or certificate.trusted != {each.identity for each in _valid(authorities, now)}
        or _worn(certificate.made, certificate.expires, now)
    )


def _valid(authorities: Collection[Authority], now: datetime.datetime) -> list[Authority]:
    # Not compared with `made`: a clock that was set back must not replace an authority.
    return [each for each in authorities if now < each.expires]


def _worn(made: datetime.datetime, expires: datetime.datetime, now: datetime.datetime) -> bool:
    return now >= made + (expires - made) * _RENEWED_AT.numerator / _RENEWED_AT.denominator
