"""Authorities and certificates are renewed in time, and nothing meets a signer that it does not trust."""

import datetime

import pytest

from edge_operator.authority.schedule import (
    AUTHORITY_LIFETIME,
    DISTRIBUTION,
    LIFETIME,
    Authority,
    Certificate,
    changes,
    is_due,
    signer,
)

START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
FIRST = Authority("first", START, START + AUTHORITY_LIFETIME)
RENEWAL = START + AUTHORITY_LIFETIME * 2 / 3
SECOND = Authority("second", RENEWAL, RENEWAL + AUTHORITY_LIFETIME)
NAMES = frozenset({"*.shop.svc.cluster.local"})
ISSUED = Certificate("first", frozenset({"first"}), NAMES, START, START + LIFETIME)


def test_without_an_authority_one_is_made_and_signs_at_once() -> None:
    assert changes([], START) == (True, frozenset())
    assert signer([FIRST], START) == FIRST
    assert changes([FIRST], START) == (False, frozenset())


def test_a_successor_is_made_at_two_thirds_of_the_authoritys_lifetime() -> None:
    assert not changes([FIRST], RENEWAL - DAY).make
    assert changes([FIRST], RENEWAL).make


def test_a_successor_is_trusted_for_a_week_before_it_signs() -> None:
    both = [FIRST, SECOND]
    assert signer(both, RENEWAL + DISTRIBUTION - DAY) == FIRST
    assert signer(both, RENEWAL + DISTRIBUTION) == SECOND


def test_the_former_authority_is_trusted_until_all_that_it_signed_has_expired() -> None:
    both, last = [FIRST, SECOND], RENEWAL + DISTRIBUTION + LIFETIME
    assert changes(both, last - DAY) == (False, frozenset())
    assert changes(both, last) == (False, frozenset({"first"}))


def test_an_expired_authority_is_replaced_and_removed() -> None:
    assert changes([FIRST], FIRST.expires) == (True, frozenset({"first"}))
    assert signer([FIRST], FIRST.expires) is None


def test_a_clock_that_was_set_back_replaces_no_authority() -> None:
    assert changes([FIRST], START - 100 * DAY) == (False, frozenset())
    assert signer([FIRST], START - 100 * DAY) == FIRST


def test_a_certificate_is_renewed_at_two_thirds_of_its_lifetime() -> None:
    assert not is_due(ISSUED, NAMES, [FIRST], START + 59 * DAY)
    assert is_due(ISSUED, NAMES, [FIRST], START + 60 * DAY)


@pytest.mark.parametrize(
    "other",
    [
        None,
        ISSUED._replace(signer="second"),
        ISSUED._replace(names=frozenset({"other.svc"})),
        ISSUED._replace(trusted=frozenset({"first", "second"})),
    ],
    ids=["missing", "signed by another", "for other names", "with another ca.crt"],
)
def test_a_certificate_is_issued_if_it_is(other: Certificate | None) -> None:
    assert is_due(other, NAMES, [FIRST], START)


def test_a_successor_is_distributed_with_certificates_that_the_former_authority_signs() -> None:
    both, now = [FIRST, SECOND], RENEWAL + DAY
    held = Certificate("first", frozenset({"first"}), NAMES, RENEWAL - DAY, RENEWAL - DAY + LIFETIME)
    assert is_due(held, NAMES, both, now)
    assert not is_due(held._replace(trusted=frozenset({"first", "second"})), NAMES, both, now)
