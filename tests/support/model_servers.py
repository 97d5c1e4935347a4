"""Real servers that models come from, built from Go's module proxy: an S3 server and an OCI registry."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from testbed.binaries import REGISTRY, S3_SERVER, Binaries, Program

ROOT = Path(__file__).resolve().parents[2]
ACCESS_KEY, SECRET_KEY = "edge", "a secret of the test"
LOOPBACK = "127.0.0.1"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TAR, GZIPPED_TAR = "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip"


def program(wanted: Program) -> Path:
    """Returns a program from the cache; built first if it is not there."""
    return Binaries(ROOT / ".cache" / "bin", lambda line: None).one(wanted)


def free_port(host: str) -> int:
    """Returns a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: list[str], address: str, environment: Mapping[str, str], log: Path, prefix: Sequence[str] = ()
) -> Iterator[None]:
    """Runs a server until the end of the block, from when it accepts connections.

    prefix: of commands in the network where its address is.
    """
    with log.open("wb") as output:
        process = subprocess.Popen([*prefix, *command], env=dict(environment), stdout=output, stderr=output)
        try:
            until = time.monotonic() + 60
            while not _accepts(address, prefix):
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < until, f"{command[0]} does not listen at {address}"
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait()


def _accepts(address: str, prefix: Sequence[str]) -> bool:
    host, _, port = address.rpartition(":")
    connect = f"import socket; socket.create_connection(({host!r}, {port}), 1).close()"
    if prefix:
        argv = [*prefix, sys.executable, "-c", connect]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class S3Server:
    """An S3 server; each folder of `buckets` is one, and each file in it an object."""

    url: str
    buckets: Path

    def put(self, path: str, data: bytes) -> None:
        """Stores an object. path: BUCKET/KEY."""
        file = self.buckets / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    @property
    def credentials(self) -> dict[str, str]:
        """The variables of a Secret for it."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.url,
        }


@contextlib.contextmanager
def s3_server(folder: Path, address: str = "", prefix: Sequence[str] = ()) -> Iterator[S3Server]:
    """Runs versitygw over a folder. address, prefix: default: a free port of this machine."""
    buckets = folder / "buckets"
    buckets.mkdir(parents=True)
    address = address or f"{LOOPBACK}:{free_port(LOOPBACK)}"
    keys = ["--access", ACCESS_KEY, "--secret", SECRET_KEY]
    command = [str(program(S3_SERVER)), "--port", address, *keys, "posix", "--nometa", str(buckets)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with running(command, address, environment, folder / "s3.log", prefix):
        yield S3Server(f"http://{address}", buckets)


@dataclass(frozen=True)
class Registry:
    """An OCI registry without TLS."""

    address: str

    def push_image(self, name: str, layers: Sequence[Mapping[str, bytes]], *, zipped: bool = True) -> str:
        """Pushes an image NAME:TAG, whose layers have these files by path. Returns its address."""
        blobs = [_tar(files) for files in layers]
        blobs = [gzip.compress(blob, mtime=0) for blob in blobs] if zipped else blobs
        kind = GZIPPED_TAR if zipped else TAR
        return self._push(name, [self._layer(name, blob, kind) for blob in blobs])

    def push_artifact(self, name: str, files: Mapping[str, bytes]) -> str:
        """Pushes an artifact NAME:TAG, a layer for each file, as `oras push` does. Returns the address."""
        layers = [
            self._layer(name, data, "application/octet-stream")
            | {"annotations": {"org.opencontainers.image.title": title}}
            for title, data in files.items()
        ]
        return self._push(name, layers)

    def _push(self, name: str, layers: list[dict[str, object]]) -> str:
        repository, _, tag = name.partition(":")
        config = self._layer(name, b"{}", "application/vnd.oci.image.config.v1+json")
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        response = httpx.put(
            f"http://{self.address}/v2/{repository}/manifests/{tag}",
            content=json.dumps(manifest).encode(),
            headers={"content-type": MANIFEST},
        )
        response.raise_for_status()
        return f"oci://{self.address}/{name}"

    def _layer(self, name: str, data: bytes, kind: str) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        url = f"http://{self.address}/v2/{name.partition(':')[0]}/blobs/uploads/"
        location = httpx.post(url).raise_for_status().headers["location"]
        mark = "&" if "?" in location else "?"
        httpx.put(f"{location}{mark}digest={digest}", content=data).raise_for_status()
        return {"mediaType": kind, "digest": digest, "size": len(data)}


@contextlib.contextmanager
def registry(folder: Path, address: str = "", prefix: Sequence[str] = ()) -> Iterator[Registry]:
    """Runs distribution's registry over a folder, which keeps what was pushed before. Others: as above."""
    folder.mkdir(parents=True, exist_ok=True)
    address = address or f"{LOOPBACK}:{free_port(LOOPBACK)}"
    config = folder / "registry.json"
    config.write_text(
        json.dumps(
            {
                "version": 0.1,
                "log": {"level": "error"},
                "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}},
                "http": {"addr": address},
            }
        )
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "OTEL_TRACES_EXPORTER": "none"}
    command = [str(program(REGISTRY)), "serve", str(config)]
    with running(command, address, environment, folder / "registry.log", prefix):
        yield Registry(address)


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
