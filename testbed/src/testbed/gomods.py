"""Generates the go.mod that pins Kubernetes' programs: `python -m testbed.gomods v1.34.2`.

k8s.io/kubernetes requires its staging modules as `k8s.io/X v0.0.0` and replaces them with folders of its own
repository. A module outside it must replace each with the published version of the release.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path

from testbed.binaries import GOMODS, PROGRAMS
from testbed.errors import BadValueError
from testbed.processes import run

_VERSION = re.compile(r"v1\.(\d+)\.(\d+)")
_STAGED = re.compile(r"^\s*(k8s\.io/[\w-]+) => \./staging/", re.MULTILINE)


def kubernetes_go_mod(upstream: str, version: str) -> str:
    """Returns the go.mod for `version`, from the go.mod of k8s.io/kubernetes at that version."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise BadValueError(f"Kubernetes version {version!r}: use e.g. v1.34.2")
    staging = f"v0.{match[1]}.{match[2]}"
    go = re.search(r"^go (\S+)$", upstream, re.MULTILINE)
    tools = sorted(program.package for program in PROGRAMS if program.module == "kubernetes")
    lines = [
        "module kubernetes",
        f"go {go[1] if go else '1.24.0'}",
        "tool (\n" + "".join(f"\t{tool}\n" for tool in tools) + ")",
        f"require k8s.io/kubernetes {version}",
        "replace (\n" + "".join(f"\t{m} => {m} {staging}\n" for m in _STAGED.findall(upstream)) + ")",
    ]
    return "\n\n".join(lines) + "\n"


def main() -> None:
    """Generates gomods/kubernetes for the version on the command line."""
    version = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        answer = run(["go", "mod", "download", "-json", f"k8s.io/kubernetes@{version}"], cwd=Path(folder))
    upstream = Path(json.loads(answer)["GoMod"]).read_text()
    module = GOMODS / "kubernetes"
    (module / "go.mod").write_text(kubernetes_go_mod(upstream, version))
    run(["go", "mod", "tidy"], cwd=module)


if __name__ == "__main__":
    main()
