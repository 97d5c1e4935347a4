"""Receives probes of a link: `POST /v1/probe` of the model store, and of runtimes on intermediate nodes."""

from __future__ import annotations

import time

import orjson

from edge_runtime.asgi import Receive, Send, chunks, respond


async def receive_probe(receive: Receive, send: Send) -> None:
    """Reads and discards a probe. The time from its first to its last byte is the link's, independent of the
    sender.

    `first` is the number of bytes in the first read, for which no time was measured.
    """
    size, opening, first, last = 0, 0, 0.0, 0.0
    async for chunk in chunks(receive):
        last = time.perf_counter()
        if not size:
            first, opening = last, len(chunk)
        size += len(chunk)
    await respond(send, 200, orjson.dumps({"bytes": size, "seconds": last - first, "first": opening}))
