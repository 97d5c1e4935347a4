"""Whose tokens callers show: how long a verdict of the API server holds, and what it costs to ask for it."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_runtime.cli import main
from edge_runtime.errors import Forbidden, Unauthenticated, Unreachable
from edge_runtime.store.callers import Account
from edge_runtime.store.flags import callers_of, warn_if_open
from edge_runtime.store.tokens import FRESH, REFUSED, STALE, Tokens
from edge_runtime.token_reviews import Review
from messages import mentions

SHOP = Account("shop", "digits-runtime")


@dataclass
class Server:
    """An API server with a manual clock. asked: the reviewed tokens."""

    users: dict[str, str] = field(
        default_factory=lambda: {"good": f"system:serviceaccount:{SHOP.namespace}:{SHOP.name}"}
    )
    asked: list[str] = field(default_factory=list)
    away: bool = False
    now: float = 1000.0

    async def review(self, token: str) -> Review:
        self.asked.append(token)
        await asyncio.sleep(0)
        if self.away:
            raise Unreachable("API server https://10.0.0.1: timed out")
        user = self.users.get(token, "")
        return Review(user) if user else Review(why="token has expired")

    def tokens(self, kept: int = 4) -> Tokens:
        return Tokens(self.review, lambda: self.now, kept)


@pytest.fixture
def server() -> Server:
    return Server()


async def test_a_valid_token_is_reviewed_once_a_minute(server: Server) -> None:
    tokens = server.tokens()
    for _ in range(3):
        assert await tokens.account("good") == SHOP
    server.now += FRESH - 0.1
    await tokens.account("good")
    assert server.asked == ["good"]
    server.now += 0.2
    await tokens.account("good")
    assert server.asked == ["good", "good"]


async def test_an_invalid_token_is_reviewed_again_sooner(server: Server) -> None:
    tokens = server.tokens()
    for seconds, reviews in ((0.0, 1), (REFUSED - 0.1, 1), (0.2, 2)):
        server.now += seconds
        with pytest.raises(Unauthenticated, match=mentions("authorization", "token has expired")):
            await tokens.account("bad")
        assert len(server.asked) == reviews
    server.users["bad"] = server.users["good"]
    server.now += REFUSED
    assert await tokens.account("bad") == SHOP


async def test_a_token_that_becomes_invalid_is_refused_within_a_minute(server: Server) -> None:
    tokens = server.tokens()
    await tokens.account("good")
    server.users.clear()
    server.now += FRESH
    with pytest.raises(Unauthenticated):
        await tokens.account("good")


async def test_requests_at_the_same_time_share_a_review(server: Server) -> None:
    tokens = server.tokens()
    found = await asyncio.gather(*(tokens.account("good") for _ in range(20)))
    assert (set(found), server.asked) == ({SHOP}, ["good"])


async def test_many_unknown_tokens_do_not_delay_the_review_of_a_known_one(server: Server) -> None:
    gate, busy = asyncio.Event(), asyncio.Event()

    async def review(token: str) -> Review:
        if token.startswith("unknown"):
            busy.set()
            await gate.wait()
        return await server.review(token)

    tokens = Tokens(review, lambda: server.now)
    await tokens.account("good")
    server.now += FRESH
    flood = [asyncio.create_task(tokens.account(f"unknown-{number}")) for number in range(100)]
    await busy.wait()
    async with asyncio.timeout(20):
        assert await tokens.account("good") == SHOP
    gate.set()
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    assert all(isinstance(outcome, Unauthenticated) for outcome in outcomes)


async def test_a_caller_that_leaves_does_not_end_the_review_of_others(server: Server) -> None:
    tokens = server.tokens()
    first, second = (asyncio.create_task(tokens.account("good")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == SHOP


async def test_without_the_api_server_a_known_token_holds_for_a_quarter_of_an_hour(server: Server) -> None:
    tokens = server.tokens()
    await tokens.account("good")
    server.away = True
    server.now += FRESH
    assert await tokens.account("good") == SHOP
    reviews = len(server.asked)
    assert await tokens.account("good") == SHOP
    assert len(server.asked) == reviews  # the absent API server is not asked for each request
    server.now += STALE - FRESH
    assert await tokens.account("good") == SHOP
    server.now += REFUSED
    with pytest.raises(Unreachable, match=mentions("authorization", "API server")):
        await tokens.account("good")
    server.away = False
    assert await tokens.account("good") == SHOP


async def test_without_the_api_server_an_unknown_token_is_not_accepted(server: Server) -> None:
    server.away = True
    with pytest.raises(Unreachable):
        await server.tokens().account("good")


async def test_invalid_tokens_displace_no_valid_one_and_memory_is_bounded(server: Server) -> None:
    tokens = server.tokens(kept=4)
    await tokens.account("good")
    for number in range(20):
        with pytest.raises(Unauthenticated):
            await tokens.account(f"bad-{number}")
    await tokens.account("good")
    assert server.asked.count("good") == 1
    with pytest.raises(Unauthenticated):
        await tokens.account("bad-0")
    assert server.asked.count("bad-0") == 2


async def test_a_user_other_than_a_service_account_is_refused(server: Server) -> None:
    server.users["person"] = "jane"
    with pytest.raises(Forbidden, match=mentions("jane", "kubectl create token")):
        await server.tokens().account("person")


def test_a_store_with_tokens_needs_the_variables_of_a_pod(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert main(["store", "--root", str(tmp_path), "--tokens"]) == 1
    assert mentions("--tokens", "KUBERNETES_SERVICE_HOST").search(capsys.readouterr().err)


def test_a_store_without_tokens_warns_at_its_start(caplog: pytest.LogCaptureFixture) -> None:
    callers = callers_of(argparse.Namespace(tokens=False))
    assert callers is None
    warn_if_open(callers)
    assert mentions("--tokens", "any client").search(caplog.text)
