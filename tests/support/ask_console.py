"""A request to a console, from a node: prints its status and its JSON, or what a stream sends first.

`python ask_console.py URL [--events NAME…] [--text TEXT]`, with the token in $TOKEN. --events: reads a stream
until it has sent one event of each name. --text: reads it until it has sent this text.
"""

import argparse
import json
import os
import sys
from typing import Any

import httpx


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--events", nargs="*", default=[])
    parser.add_argument("--text")
    asked = parser.parse_args()
    headers = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
    if not (asked.events or asked.text):
        response = httpx.get(asked.url, headers=headers, timeout=60)
        print(json.dumps({"status": response.status_code, "json": response.json()}))
        return
    found: dict[str, Any] = {}
    with httpx.stream("GET", asked.url, headers=headers, timeout=60) as response:
        name = ""
        for line in response.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
                if not found:
                    print("begun", file=sys.stderr, flush=True)
            elif line.startswith("data: "):
                found.setdefault(name, json.loads(line.removeprefix("data: ")))
                if (asked.text or "") in line and found.keys() >= set(asked.events):
                    break
    print(json.dumps({"status": response.status_code, "json": found}))


if __name__ == "__main__":
    main()
