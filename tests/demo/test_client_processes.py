import sys
from pathlib import Path

import pytest

from demo.client_processes import ClientProcesses
from demo.clusters import Entrance
from demo.errors import LoadFailed
from demo.statistics import RequestResult
from messages import mentions

CLIENT = """
import sys
print('{"event": "ready"}', flush=True)
for line in sys.stdin:
    if line == "start\\n":
        print('{"event": "answer", "sent": 1, "latency": 0.1, "exit": "e", "cut": "c"}', flush=True)
    else:
        print('{"event": "stopped"}', flush=True)
"""


def started(program: str, *nodes: str) -> ClientProcesses:
    entrances = {node: Entrance([sys.executable, "-c", program], "10.0.0.1") for node in nodes}
    protocols = dict.fromkeys(nodes, "http")
    return ClientProcesses(
        entrances, protocols, model="digits", rate=1, timeout=1, held_out=Path("heldout.npz")
    )


def test_answers_of_all_clients_come_together() -> None:
    clients = started(CLIENT, "edge-a", "edge-b")
    try:
        clients.start()
        found = clients.stop()
    finally:
        clients.end()
    assert {result.node for result in found if isinstance(result, RequestResult)} == {"edge-a", "edge-b"}


def test_clients_can_be_started_again() -> None:
    clients = started(CLIENT, "edge-a")
    try:
        counts = []
        for _ in range(2):
            clients.start()
            counts.append(len(clients.stop()))
    finally:
        clients.end()
    assert counts == [1, 1]


def test_a_rate_reaches_every_client() -> None:
    rated = CLIENT.replace(
        'if line == "start\\n":',
        'if line.startswith("rate"): rate = float(line.split()[1])\n    elif line == "start\\n":',
    ).replace('"latency": 0.1', "\"latency\": ' + str(rate) + '")
    clients = started(rated, "edge-a", "edge-b")
    try:
        clients.set_rate(7.5)
        clients.start()
        found = clients.stop()
    finally:
        clients.end()
    assert [result.latency for result in found if isinstance(result, RequestResult)] == [7.5, 7.5]


def test_a_client_that_cannot_start_says_why() -> None:
    with pytest.raises(LoadFailed, match=mentions("edge-a", 3, "no such host")):
        started("import sys; print('no such host', file=sys.stderr); sys.exit(3)", "edge-a")


def test_a_client_that_dies_while_it_sends_is_noticed() -> None:
    clients = started(CLIENT.replace("else:", "else:\n        sys.exit('killed')"), "edge-a")
    try:
        clients.start()
        with pytest.raises(LoadFailed, match=mentions("edge-a", 1, "killed")):
            clients.stop()
    finally:
        clients.end()
