"""A pool reports the certificates that its services lack."""

import pytest

from edge_api import reasons
from edge_operator.authority.failures import certificates_finding
from messages import mentions

FAILURES = {"shop": ("Secret shop/edge-runtime-tls: quota exceeded",)}


def test_a_pool_with_services_in_the_namespace_has_the_failure() -> None:
    found = certificates_finding(FAILURES, {"edge-intelligence", "shop"})
    assert found is not None
    assert (found.type, found.status) == (reasons.CERTIFICATES_ISSUED, "False")
    assert found.reason == reasons.ISSUING_FAILED
    assert mentions("shop/edge-runtime-tls", "quota exceeded", "until they expire").search(found.message)


def test_a_pool_without_services_in_the_namespace_has_not() -> None:
    found = certificates_finding(FAILURES, {"edge-intelligence", "plant"})
    assert found is not None
    assert (found.status, found.reason) == ("True", reasons.ISSUED)


@pytest.mark.parametrize(("count", "rest"), [(3, ""), (5, "and 2 more")])
def test_many_failures_are_counted(count: int, rest: str) -> None:
    names = [f"ns-{number}" for number in range(count)]
    found = certificates_finding({name: (f"Secret {name}/tls: refused",) for name in names}, names)
    assert found is not None
    assert found.message.count("refused") == 3
    assert rest in found.message


def test_an_operator_that_issues_none_reports_none() -> None:
    assert certificates_finding(None, {"shop"}) is None
