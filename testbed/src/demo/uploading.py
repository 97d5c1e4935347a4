"""Uploads a file to the model store: `python -m demo.uploading HOST PORT PATH FILE`.

A process of its own can run in the network of a node. The input is a JSON object with `token`, and for a
store with TLS its `name` and the `authority` that issued its certificate, in PEM. Prints the response.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import time
from pathlib import Path

WITHIN = 300.0
REACHED, RETRY = 30.0, 0.5
"""Seconds until a store that refuses connections is given up, and between two attempts."""


def connect(host: str, port: int, name: str = "", authority: str = "") -> http.client.HTTPConnection:
    """Returns a connection to the store; by TLS if an authority is given, which must vouch for `name`."""
    connection = http.client.HTTPConnection(host, port, timeout=WITHIN)
    connection.sock = reach(host, port)
    if authority:
        context = ssl.create_default_context(cadata=authority)
        connection.sock = context.wrap_socket(connection.sock, server_hostname=name)
    return connection


def reach(host: str, port: int) -> socket.socket:
    """Connects; tries again while the node does not know yet that the store's pod is Ready."""
    end = time.monotonic() + REACHED
    while True:
        try:
            return socket.create_connection((host, port), timeout=WITHIN)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
        time.sleep(RETRY)


def put(connection: http.client.HTTPConnection, path: str, file: Path, token: str) -> str:
    """Sends the file with a ServiceAccount token. Raises OSError with the store's message."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
    connection.request("PUT", path, file.read_bytes(), headers)
    response = connection.getresponse()
    said = response.read().decode()
    if response.status != http.HTTPStatus.OK:
        raise OSError(f"PUT {path} returned {response.status} {said}")
    return said


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    host, port, path, file = argv
    given = json.load(sys.stdin)
    try:
        connection = connect(host, int(port), given.get("name", ""), given.get("authority", ""))
        sys.stdout.write(put(connection, path, Path(file), given["token"]))
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
