"""Makes an address in the testbed's networks reachable at a port of this machine.

The file is also the program that runs in the network there, with the standard library only:
`forwarding.py SOCKET HOST PORT`, where SOCKET is the number of an inherited file descriptor that listens.
A socket stays in the network in which it was made. The program ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

CHUNK = 1 << 16


@contextlib.contextmanager
def forwarded(prefix: Sequence[str], host: str, port: int, local: int = 0) -> Iterator[int]:
    """Forwards connections while the block runs; yields the port of this machine.

    prefix: the argv that runs a program in the network of the address. local: the port; 0: a free one.
    """
    with socket.create_server(("127.0.0.1", local)) as listening:
        number = listening.fileno()
        argv = [*prefix, sys.executable, "-I", "-S", str(Path(__file__)), str(number), host, str(port)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, pass_fds=(number,)) as process:
            try:
                yield int(listening.getsockname()[1])
            finally:
                process.terminate()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
    with contextlib.suppress(OSError):
        target.write_eof()


async def _main(listening: socket.socket, host: str, port: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:  # the client sees a closed connection
            writer.close()
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        far_writer.close()
        writer.close()

    async with await asyncio.start_server(serve, sock=listening):
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], int(sys.argv[3])))
