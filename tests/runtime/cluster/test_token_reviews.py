"""Whose token it is: the API server decides, for one audience."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.api_server import api_server_url
from edge_runtime.connections import Resolver
from edge_runtime.errors import Unreachable
from edge_runtime.token_reviews import TokenReviews
from messages import mentions
from reviewing import AUDIENCE, Reviewer, reviewing


@pytest.fixture
def reviewer() -> Iterator[Reviewer]:
    with reviewing() as served:
        yield served


@pytest.fixture
def reviews(reviewer: Reviewer, tmp_path: Path) -> TokenReviews:
    (tmp_path / "token").write_text("own\n")
    return TokenReviews(AUDIENCE, reviewer.url, Resolver(), tmp_path)


async def test_a_valid_token_has_a_user(reviewer: Reviewer, reviews: TokenReviews) -> None:
    token = reviewer.account("shop", "digits-runtime")
    found = await reviews.review(token)
    assert (found.user, found.why) == ("system:serviceaccount:shop:digits-runtime", "")
    assert reviewer.asked == [{"token": token, "audiences": [AUDIENCE]}]
    assert reviewer.shown == ["Bearer own"]


async def test_an_invalid_token_has_the_reason_of_the_api_server(reviews: TokenReviews) -> None:
    found = await reviews.review("made up")
    assert (found.user, found.why) == ("", "token has expired")


@pytest.mark.parametrize("audiences", [[], ["https://kubernetes.default.svc"]])
async def test_a_token_for_another_audience_is_invalid(
    reviewer: Reviewer, reviews: TokenReviews, audiences: list[str]
) -> None:
    token = reviewer.account("shop", "default")
    reviewer.audiences[token] = audiences
    found = await reviews.review(token)
    assert found.user == ""
    assert AUDIENCE in found.why


async def test_an_api_server_that_fails_decides_nothing(reviewer: Reviewer, reviews: TokenReviews) -> None:
    reviewer.broken = True
    with pytest.raises(Unreachable, match=mentions("tokenreviews", "500")):
        await reviews.review(reviewer.account("shop", "default"))


@pytest.mark.parametrize(
    ("host", "url"), [("10.0.0.1", "https://10.0.0.1:6443"), ("fd00::1", "https://[fd00::1]:6443")]
)
def test_the_api_servers_address_comes_from_the_pods_variables(host: str, url: str) -> None:
    pod = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "6443"}
    assert api_server_url(pod) == url
    assert api_server_url({}) is None
