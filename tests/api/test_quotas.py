"""Quotas and weights in the notation of the API."""

from typing import Any

import pytest

from edge_api import Tenant
from edge_api.quotas import Quota, Weight
from messages import mentions


def tenant(**spec: Any) -> Tenant:
    body = {"kind": "Tenant", "metadata": {"name": "shop"}}
    return Tenant.model_validate(body | {"spec": {"namespaceSelector": {"matchLabels": {"a": "b"}}} | spec})


@pytest.mark.parametrize(
    ("text", "share", "amount"),
    [
        ("30%", 0.3, None),
        ("0.5%", 0.005, None),
        ("100%", 1.0, None),
        ("0%", 0.0, None),
        ("500m", None, 0.5),
        ("1.5", None, 1.5),
        ("20M", None, 20e6),
        ("8Gi", None, 8 * 2.0**30),
        ("2e3", None, 2000.0),
    ],
)
def test_a_quota_is_a_share_or_an_amount(text: str, share: float | None, amount: float | None) -> None:
    quota = Quota.parse(text)
    assert (quota.share, quota.amount, str(quota)) == (share, amount, text)


@pytest.mark.parametrize("text", ["101%", "100.5%", "%", "-1", "30 %", "many", "", "3" * 40])
def test_anything_else_is_refused_with_its_value(text: str) -> None:
    with pytest.raises(ValueError, match=mentions("30%", "8Gi")):
        Quota.parse(text)


@pytest.mark.parametrize(
    ("value", "weight"), [(2, 2.0), ("2", 2.0), ("0.5", 0.5), ("500m", 0.5), (0, 0.0), ("1k", 1000.0)]
)
def test_a_weight_is_a_number_or_a_quantity(value: object, weight: float) -> None:
    assert tenant(fairSharing={"weight": value}).spec.fair_sharing.weight == weight


@pytest.mark.parametrize("value", [-1, "-1", 0.5, True, "two", "2000000000"])
def test_a_bad_weight_is_refused_with_its_value(value: object) -> None:
    with pytest.raises(ValueError, match=mentions("weight")):
        Weight.parse(value)


def test_quotas_are_listed_by_kind() -> None:
    (pool,) = tenant(
        pools=[{"name": "factory", "nominalQuota": {"cpu": "30%", "tritonTime": "1"}}]
    ).spec.pools
    assert pool.nominal_quota.by_kind() == {"cpu": Quota.parse("30%"), "tritonTime": Quota.parse("1")}
    assert pool.borrowing_limit.by_kind() == {}
