"""Run in namespaces of its own: a host whose node port is served from the disk, then by a pod.

    unshare --net --mount python handed_over.py FOLDER

Two clients send requests to the node's own address all the time, one with a kept connection. Rules like those
of kube-proxy first refuse connections to the port, as without an endpoint, and later lead them to the pod.
Prints `{"served": requests with a response after the first one, "lost": errors, "ended": exit status}`.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from placed import adding, placement
from waiting import until

NODE, POD, PORT = "10.99.0.11", "10.244.1.5", 30080
PROGRAM = [sys.executable, "-m", "edge_runtime.cli"]
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}]})
NETWORK = f"""
mount --make-rprivate / && mount -t tmpfs none /run && ip link set lo up
ip link add eth0 type veth peer name far && ip link set far up
ip addr add {NODE}/24 dev eth0 && ip link set eth0 up && ip route add default dev eth0
ip netns add pod && ip link add v0 type veth peer name v1 netns pod && ip link set v0 up
ip addr add 10.244.1.1/32 dev v0 && ip route add {POD}/32 dev v0
ip -n pod link set lo up && ip -n pod link set v1 up && ip -n pod addr add {POD}/24 dev v1
ip -n pod route add default via 10.244.1.1 dev v1 && sysctl -qw net.ipv4.ip_forward=1
"""
REFUSING = f"""
table ip kube-proxy {{
  chain filter-input {{
    type filter hook input priority 0;
    ct state new ip daddr {NODE} tcp dport {PORT} reject
  }}
  chain nat-output {{
    type nat hook output priority -100;
  }}
}}
"""
LEADING = f"""
flush table ip kube-proxy
add rule ip kube-proxy nat-output ip daddr {NODE} tcp dport {PORT} dnat to {POD}:8080
"""


def keep(pod: Path) -> Path:
    """Writes the folder of a pod that served before the reboot; returns that of its volume."""
    cache = pod / "volumes" / "kubernetes.io~empty-dir" / "cache"
    model = adding(1)
    digest = hashlib.sha256(model).hexdigest()
    (cache / "slices").mkdir(parents=True)
    (cache / "slices" / digest).write_bytes(model)
    document = placement("ones", f"sha256:{digest}")
    document["metadata"]["namespace"] = "default"
    document["spec"]["hostPorts"] = {"http": PORT}
    (cache / "services" / "ones").mkdir(parents=True)
    (cache / "services" / "ones" / "placement.json").write_text(json.dumps(document))
    return cache


class Client(threading.Thread):
    """Sends requests one after another. kept: over one connection, until the server closes it."""

    def __init__(self, *, kept: bool) -> None:
        super().__init__(daemon=True)
        self.kept, self.served, self.lost, self.stopped = kept, 0, list[str](), False

    def run(self) -> None:
        connection = None
        while not self.stopped:
            try:
                connection = connection or http.client.HTTPConnection(NODE, PORT, timeout=30)
                connection.request("POST", "/v2/models/ones/infer", BODY)
                response = connection.getresponse()
                response.read()
                assert response.status == 200, response.status
                self.served += 1
                if response.will_close or not self.kept:
                    connection.close()
                    connection = None
            except (OSError, AssertionError, http.client.HTTPException) as error:
                connection = None
                if self.served:
                    self.lost.append(repr(error))
            time.sleep(0.01)


def rules(text: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


def more(clients: list[Client]) -> Callable[[], bool]:
    """Whether each client has been served ten times more."""
    before = [client.served for client in clients]
    return lambda: all(c.served >= b + 10 or c.lost for c, b in zip(clients, before, strict=True))


def led_to_pod() -> bool:
    done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True)
    return f"dnat ip to {POD}:8080" in done.stdout


def main(folder: Path) -> None:
    """Goes through a reboot and back."""
    subprocess.run(["sh", "-ec", NETWORK], check=True)
    cache = keep(folder / "kubelet" / "pods" / "1")
    words = ["--kubelet-dir", folder / "kubelet", "--dir", folder / "dir", "--user", "0", "--after", "1s"]
    host = subprocess.Popen([*PROGRAM, "serve-node", *map(str, words)])
    clients = [Client(kept=kept) for kept in (True, False)]
    pod = None
    try:
        for client in clients:
            client.start()
        until(more(clients), "served from the disk")
        rules(REFUSING)
        until(more(clients), "served while the cluster has no endpoint")
        arguments = [
            "--namespace=default",
            "--node=edge-a",
            "--store=http://127.0.0.1:9",
            f"--cache-dir={cache}",
        ]
        pod = subprocess.Popen(["ip", "netns", "exec", "pod", *PROGRAM, "run", "--from-disk", *arguments])
        (folder / "kubelet" / "pods" / "1" / "etc-hosts").write_text(f"127.0.0.1 localhost\n{POD} pod\n")
        until(led_to_pod, "new connections go to the pod")
        until(more(clients), "served by both")
        rules(LEADING)
        until(lambda: host.poll() is not None, "handed over")
        until(more(clients), "served by the pod alone")
        for client in clients:
            client.stopped = True
            client.join(60)
    finally:
        for process in (host, pod):
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                process.wait()
    lost = [each for client in clients for each in client.lost]
    print(json.dumps({"served": [c.served for c in clients], "lost": lost, "ended": host.returncode}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
