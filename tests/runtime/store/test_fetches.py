"""Addresses that hang hold up the requests of their own namespace alone."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_runtime.errors import Unreachable
from edge_runtime.store import downloads
from edge_runtime.store.app import StoreApp
from edge_runtime.store.catalogue import Catalogue
from edge_runtime.store.fetches import AT_ONCE, Fetches


async def turns() -> None:
    """Lets tasks run until they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_addresses_that_hang_leave_files_and_slices_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()

    def hangs(*_: Any) -> Any:
        assert held.wait(30)
        return {}

    monkeypatch.setattr(Catalogue, "add_model", hangs)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    app = StoreApp(tmp_path, 1 << 20)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://store.test", timeout=20) as client:
        (await client.put("/v1/files/a/b.onnx", content=b"content")).raise_for_status()
        body = {"storageUri": "https://hangs.test/model.onnx"}
        hung = [asyncio.create_task(client.post("/v1/models", json=body)) for _ in range(8)]
        try:
            await turns()
            async with asyncio.timeout(20):
                assert (await client.get("/v1/files/a/b.onnx")).content == b"content"
            assert not any(task.done() for task in hung)
        finally:
            held.set()
        assert {(await task).status_code for task in hung} == {200}
    app.close()


async def test_a_namespace_whose_addresses_hang_holds_up_no_other() -> None:
    held, fetches = threading.Event(), Fetches(AT_ONCE + 1)
    hung = [asyncio.create_task(fetches.run("shop", held.wait, 30)) for _ in range(3 * AT_ONCE)]
    await turns()
    try:
        async with asyncio.timeout(20):
            assert await fetches.run("bank", lambda: "fetched") == "fetched"
        assert not any(task.done() for task in hung)
    finally:
        held.set()
    assert all(await asyncio.gather(*hung))
    fetches.close()


@pytest.mark.parametrize(
    ("received", "seconds", "ends"), [(0, 59.0, False), (61_000, 60.5, False), (59_000, 60.5, True)]
)
def test_a_download_that_hardly_moves_ends_after_a_minute(received: int, seconds: float, ends: bool) -> None:
    if not ends:
        downloads.check_rate(received, seconds, "model")
        return
    with pytest.raises(Unreachable, match="59000 bytes"):
        downloads.check_rate(received, seconds, "model")
