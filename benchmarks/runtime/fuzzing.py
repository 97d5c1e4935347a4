"""Sends damaged requests to `edge-runtime serve`, to find crashes, errors and memory leaks.

`python -m benchmarks.runtime.fuzzing --seconds 600` prints one JSON object: the number of requests by status,
and the server's memory after a tenth of the time and at the end. It exits with 1 if the server ended,
returned 5xx (except 501 and 505), INTERNAL or UNKNOWN, or wrote a traceback.
"""

import argparse
import collections
import random
import re
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import grpc

from benchmarks.runtime.clients import grpc_request, http_request
from benchmarks.runtime.commands import reported, say
from benchmarks.runtime.models import write_models
from benchmarks.runtime.peers import PeerServer, started
from benchmarks.runtime.request_forms import BODILESS, RIGHT, WRONG

_PIECES: Final = (
    b"",
    b"0",
    b"-1",
    b"9" * 20,
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b"null",
    b"[",
    b'"',
    b"}",
    b"\xff",
)
_VALUES: Final = 256
_BATCH: Final = 200
_FORMS: Final = (*RIGHT.values(), *WRONG.values(), *BODILESS.values())
_BAD: Final = re.compile(r"HTTP 5(?!01|05)|INTERNAL|UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED")


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzzes both transports in turn."""
    parser = argparse.ArgumentParser(prog="fuzzing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    bad = False

    def fuzz(folder: Path) -> dict[str, object]:
        nonlocal bad
        found = fuzzed(folder, arguments.seconds, random.Random(arguments.seed))
        bad = not found["alive"] or bool(found["tracebacks"]) or bool(_BAD.search(str(found["answers"])))
        return found

    return reported("fuzzing", fuzz) or int(bad)


def fuzzed(folder: Path, seconds: float, rng: random.Random) -> dict[str, object]:
    """Returns the state of a server after damaged requests for `seconds`."""
    answers: collections.Counter[str] = collections.Counter()
    model = write_models(folder / "models")["1KB"]
    with started("ours", "1KB", model, folder, say) as server:
        begin, memory = time.monotonic(), None
        while (gone := time.monotonic() - begin) < seconds and server.process.poll() is None:
            if memory is None and gone > seconds / 10:
                memory = server.memory_mb()
            answers.update(_http(server, rng))
            answers.update(_grpc(server, rng))
        alive = server.process.poll() is None
        return {
            "seconds": round(gone),
            "requests": sum(answers.values()),
            "answers": dict(answers.most_common()),
            "alive": alive,
            "memory_mb": [round(memory or 0.0, 1), round(server.memory_mb(), 1) if alive else None],
            "tracebacks": (folder / "ours-1KB" / "log").read_text().count("Traceback"),
        }


def _http(server: PeerServer, rng: random.Random) -> list[str]:
    whole = http_request("m", _VALUES)
    head, _, body = whole.partition(b"\r\n\r\n")
    length = int(head.split(b"Header-Content-Length: ")[1].split(b"\r\n")[0])
    found = []
    for number in range(_BATCH):
        if number % 3 == 0:
            data = _damaged(rng.choice(_FORMS).request("POST", "/v2/models/m/infer", body), rng)
        elif number % 3 == 1:
            data = _damaged(whole, rng)
        else:  # with correct lengths, so that the JSON is parsed
            header = _damaged(body[:length], rng)
            size = len(header) + len(body) - length
            lines = f"Inference-Header-Content-Length: {len(header)}\r\nContent-Length: {size}\r\n\r\n"
            data = (
                b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\n" + lines.encode() + header + body[length:]
            )
        answer = b""
        with (
            socket.create_connection(("127.0.0.1", server.http), timeout=10) as sock,
            suppress(ConnectionError),
        ):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(65536):
                answer += part
        found.append(f"HTTP {answer[9:12].decode()}" if answer else "HTTP closed")
    return found


def _grpc(server: PeerServer, rng: random.Random) -> list[str]:
    whole = grpc_request("m", _VALUES)
    found = []
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer"
        )
        for _ in range(_BATCH):
            try:
                call(_damaged(whole, rng), timeout=10)
            except grpc.RpcError as error:
                found.append(f"gRPC {error.code().name}")
            else:
                found.append("gRPC OK")
    return found


def _damaged(whole: bytes, rng: random.Random) -> bytes:
    """Replaces up to four bytes, half of the time near the start, where the header is."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(min(len(whole), 400) if rng.random() < 0.5 else len(whole))
        piece = rng.choice(_PIECES) if rng.random() < 0.5 else rng.randbytes(rng.randint(0, 8))
        whole = whole[:at] + piece + whole[at + rng.randint(0, 12) :]
    return whole


if __name__ == "__main__":
    sys.exit(main())
