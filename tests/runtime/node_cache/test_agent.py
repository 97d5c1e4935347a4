"""The cache of a node serves blobs from its disk, to those whom the model store let read them."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path

import httpx
import pytest

from edge_runtime.errors import DiskFull, TooLarge
from edge_runtime.node_cache.downloads import Download
from edge_runtime.node_cache.folder import CacheFolder
from node_caches import LARGE, Place
from waiting import until

BLOBS = [bytes([number]) * 1000 for number in range(4)]


def test_a_blob_comes_from_the_store_once_and_then_from_the_disk(guarded: Place) -> None:
    digest, agent = guarded.put(LARGE), guarded.agent()
    assert agent.get(digest).content == LARGE
    assert agent.get(digest).content == LARGE
    assert guarded.store.asked == {"HEAD": 1, "GET": 1}
    assert agent.results() == {"hit": 1, "miss": 1}
    assert agent.metric('edge_node_cache_bytes_total{source="disk"}') == len(LARGE)
    assert agent.metric('edge_node_cache_bytes_total{source="store"}') == len(LARGE)
    assert agent.metric("edge_node_cache_used_bytes") == len(LARGE)


def test_a_blob_whose_bytes_changed_on_the_disk_is_fetched_again(guarded: Place) -> None:
    digest, agent = guarded.put(LARGE), guarded.agent()
    agent.get(digest)
    (path,) = guarded.cached.iterdir()
    path.write_bytes(LARGE[:-1] + b"?")
    assert agent.get(digest).content == LARGE
    assert guarded.store.asked["GET"] == 2
    assert agent.metric("edge_node_cache_damaged_total") == 1
    assert agent.get(digest).content == LARGE
    assert agent.results() == {"hit": 1, "miss": 2}


def test_several_callers_share_one_download_and_read_it_while_it_arrives(guarded: Place) -> None:
    digest, agent = guarded.put(LARGE), guarded.agent()
    guarded.store.go_on.clear()
    with agent.stream(digest) as first, agent.stream(digest) as second:
        parts = [response.iter_raw(1 << 16) for response in (first, second)]
        received = [next(each) for each in parts]  # the store holds the rest back
        assert not list(guarded.cached.iterdir())
        guarded.store.go_on.set()
        whole = [begun + b"".join(rest) for begun, rest in zip(received, parts, strict=True)]
    assert whole == [LARGE, LARGE]
    assert guarded.store.asked["GET"] == 1
    assert agent.results() == {"joined": 1, "miss": 1}


def test_a_download_continues_when_its_caller_leaves(guarded: Place) -> None:
    digest, agent = guarded.put(LARGE), guarded.agent()
    guarded.store.go_on.clear()
    with agent.stream(digest) as response:
        next(response.iter_raw(1 << 16))
    guarded.store.go_on.set()
    until(lambda: any(guarded.cached.iterdir()), lambda: f"{agent.results()}")
    assert agent.get(digest).content == LARGE
    assert agent.results() == {"hit": 1, "miss": 1}


def test_the_least_recently_used_blobs_make_room(guarded: Place) -> None:
    digests, agent = [guarded.put(blob) for blob in BLOBS], guarded.agent(limit=3000)
    for digest in (*digests[:3], digests[0], digests[3]):
        agent.get(digest)
    names = {digest.removeprefix("sha256:") for digest in digests}
    assert {path.name for path in guarded.cached.iterdir()} == names - {digests[1].removeprefix("sha256:")}
    assert agent.metric("edge_node_cache_evictions_total") == 1
    assert agent.metric("edge_node_cache_used_bytes") == 3000
    assert {path.name for path in (guarded.folder / "cache" / "readers").iterdir()} == {
        path.name for path in guarded.cached.iterdir()
    }


def test_the_order_of_use_and_the_bound_hold_after_a_restart(guarded: Place) -> None:
    digests, agent = [guarded.put(blob) for blob in BLOBS[:3]], guarded.agent()
    for digest in digests:
        agent.get(digest)
    for seconds, digest in enumerate((digests[1], digests[2], digests[0])):
        os.utime(guarded.cached / digest.removeprefix("sha256:"), (seconds, seconds))
    guarded.agent(limit=1000)
    assert [path.name for path in guarded.cached.iterdir()] == [digests[0].removeprefix("sha256:")]


def test_what_a_namespace_has_read_is_served_after_a_restart_while_the_store_is_away(guarded: Place) -> None:
    digest, other = guarded.put(LARGE), f"sha256:{'0' * 64}"
    guarded.agent().get(digest)
    agent = guarded.agent()
    guarded.stop_store()
    assert agent.get(digest).content == LARGE
    missing = agent.get(other)
    assert (missing.status_code, missing.json()["error"]["reason"]) == (502, "Unreachable")
    assert agent.results() == {"hit": 1, "failed": 1}
    unknown = agent.get(digest, "bank")  # only the store can tell whether it may
    assert (unknown.status_code, unknown.json()["error"]["reason"]) == (502, "Unreachable")


def test_another_namespace_gets_a_cached_blob_only_after_the_store_has_let_it_read_it(guarded: Place) -> None:
    digest, agent = guarded.put(LARGE), guarded.agent()
    agent.get(digest)
    refused = agent.get(digest, "bank")
    assert (refused.status_code, refused.json()["error"]["reason"]) == (404, "NotFound")
    assert agent.get(digest, "bank", "HEAD").status_code == 404
    guarded.put(LARGE, "bank-owner")
    assert agent.get(digest, "bank").content == LARGE
    assert guarded.store.asked["GET"] == 1
    guarded.stop_store()
    assert agent.get(digest, "bank").content == LARGE
    assert agent.results() == {"hit": 2, "miss": 1, "refused": 1}


def test_another_namespace_does_not_join_a_download(guarded: Place) -> None:
    digest, agent = guarded.put(LARGE), guarded.agent()
    guarded.store.go_on.clear()
    with agent.stream(digest) as response:
        next(response.iter_raw(1 << 16))
        assert agent.get(digest, "bank").status_code == 404
        guarded.put(LARGE, "bank-owner")
        with agent.stream(digest, "bank") as other:
            guarded.store.go_on.set()
            assert other.read() == LARGE
    assert guarded.store.asked["GET"] == 1


@pytest.mark.parametrize("token", ["", "made-up"])
def test_a_caller_without_a_valid_token_is_refused(guarded: Place, token: str) -> None:
    digest, agent = guarded.put(LARGE), guarded.agent()
    agent.get(digest)
    refused = agent.get(digest, token)
    assert (refused.status_code, refused.json()["error"]["reason"]) == (401, "Unauthenticated")
    assert refused.headers["www-authenticate"] == "Bearer"


def test_the_size_of_a_blob_is_that_of_the_disk_or_of_the_store(guarded: Place) -> None:
    digest, agent = guarded.put(LARGE), guarded.agent()
    sizes = [int(agent.get(digest, method="HEAD").headers["content-length"])]
    agent.get(digest)
    guarded.stop_store()
    sizes.append(int(agent.get(digest, method="HEAD").headers["content-length"]))
    assert sizes == [len(LARGE), len(LARGE)]


def test_without_tokens_at_the_store_none_are_needed(open_to_all: Place) -> None:
    digest, agent = open_to_all.put(LARGE), open_to_all.agent()
    assert [agent.get(digest, "").content for _ in range(2)] == [LARGE, LARGE]
    assert agent.results() == {"hit": 1, "miss": 1}
    assert not list((open_to_all.folder / "cache" / "readers").iterdir())


def test_a_blob_above_the_bound_or_beyond_the_disk_is_left_to_the_store(guarded: Place) -> None:
    digest, small = guarded.put(LARGE), guarded.put(BLOBS[0])
    agent = guarded.agent(limit=len(LARGE) - 1)
    agent.get(small)
    refused = agent.get(digest)
    assert (refused.status_code, refused.json()["error"]["reason"]) == (413, "TooLarge")
    assert "nodeCache.size" in refused.json()["error"]["message"]
    assert agent.get(small).content == BLOBS[0]  # nothing was evicted for it
    free = len(LARGE) + 50
    agent = guarded.agent(kept_free=1100, free=lambda _: free)
    refused = agent.get(digest)
    assert (refused.status_code, refused.json()["error"]["reason"]) == (507, "DiskFull")
    assert agent.results() == {"passed": 1}
    assert guarded.store.asked["GET"] == 1  # of the small one
    assert [path.name for path in guarded.cached.iterdir()] == [small.removeprefix("sha256:")]


def test_blobs_are_evicted_if_the_disk_has_no_room_otherwise(tmp_path: Path) -> None:
    def free(folder: Path) -> int:
        return 2500 - sum(path.stat().st_size for path in (folder / "blobs").iterdir())

    folder = CacheFolder(tmp_path, 1 << 20, kept_free=500, free=free)
    for blob in BLOBS[:3]:
        folder.reserve(len(blob))
        path, file = folder.incoming()
        with file:
            file.write(blob)
        folder.add(f"sha256:{hashlib.sha256(blob).hexdigest()}", path, len(blob))
    assert [f"sha256:{hashlib.sha256(blob).hexdigest()}" in folder for blob in BLOBS[:3]] == [
        False,
        True,
        True,
    ]
    folder.reserve(2000)
    with pytest.raises(DiskFull):  # all of the disk is for what is being received
        folder.reserve(1)
    with pytest.raises(TooLarge):
        folder.reserve((1 << 20) + 1)


def test_bytes_that_are_not_those_of_the_digest_are_not_kept(guarded: Place) -> None:
    digest, agent = guarded.put(LARGE), guarded.agent()
    guarded.store.spoil = lambda part: b"?" + part[1:]
    with pytest.raises(httpx.RemoteProtocolError):  # the last byte is not sent
        agent.get(digest)
    assert not list((guarded.folder / "cache" / "incoming").iterdir())
    assert not list(guarded.cached.iterdir())
    guarded.store.spoil = lambda part: part
    assert agent.get(digest).content == LARGE
    assert agent.results() == {"miss": 2}


def test_a_download_that_breaks_off_leaves_nothing_and_its_callers_see_it(guarded: Place) -> None:
    digest, agent = guarded.put(LARGE), guarded.agent()
    guarded.store.breaks = True
    with pytest.raises(httpx.RemoteProtocolError):
        agent.get(digest)
    assert not list(guarded.cached.iterdir())
    assert not list((guarded.folder / "cache" / "incoming").iterdir())
    guarded.store.breaks = False
    assert agent.get(digest).content == LARGE


async def test_a_disk_that_fails_while_a_blob_arrives_ends_the_download(
    tmp_path: Path,
) -> None:
    class Full(io.BytesIO):
        def write(self, part: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Store:
        async def read(self, digest: str, token: str, sink: object) -> None:
            sink(BLOBS[0])  # type: ignore[operator]

    folder = CacheFolder(tmp_path, 1 << 20)
    folder.reserve(1000)
    path, file = folder.incoming()
    file.close()
    download = Download(f"sha256:{hashlib.sha256(BLOBS[0]).hexdigest()}", 1000, path, Full())
    parts = download.follow()
    await download.run(Store(), "", folder)  # type: ignore[arg-type]
    with pytest.raises(DiskFull, match="No space left on device"):
        await anext(parts)
    assert not path.exists()
    folder.reserve(1 << 20)  # what was reserved is free again


def test_other_paths_are_refused(guarded: Place) -> None:
    agent = guarded.agent()
    assert agent.client.get("/v1/health/ready").status_code == 200
    refused = agent.client.get("/v1/models/a")
    assert (refused.status_code, refused.json()["error"]["reason"]) == (404, "NotFound")
    assert agent.get("sha256:x").status_code == 400
