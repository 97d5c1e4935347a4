"""The requirements on the machine. Installs missing packages if it can, else reports them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from testbed.errors import CommandFailedError, MachineUnfitError
from testbed.processes import run
from testbed.progress import Progress, step

# Program (or file) -> Debian package.
PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "tc": "iproute2",
    "iptables": "iptables",
    "ethtool": "ethtool",
    "unpigz": "pigz",  # halves the time in which containerd unpacks images
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "sysctl": "procps",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}
INSTEAD = "use an existing cluster instead: set KUBECONFIG and run `make demo CLUSTER=existing`"


def present(what: str) -> bool:
    """Whether a file, or a program on PATH, exists."""
    return Path(what).exists() if what.startswith("/") else shutil.which(what) is not None


def missing_packages(
    is_present: Callable[[str], bool] = present, packages: Mapping[str, str] = PACKAGES
) -> list[str]:
    """Returns the Debian packages of the missing programs and files."""
    return sorted({package for what, package in packages.items() if not is_present(what)})


def refusal(platform: str, user: int, *, may_apt: bool, missing: list[str]) -> str | None:
    """Returns why this machine cannot host a testbed, with the fix; None if it can."""
    if platform != "linux":
        return f"the testbed needs Linux (this is {platform}): {INSTEAD}"
    if user != 0:
        return f"the testbed needs root to create networks and containers: run it as root, or {INSTEAD}"
    if missing and not may_apt:
        names = ", ".join(missing)
        return f"the testbed needs {names}, and installs packages only on Debian: install them, or {INSTEAD}"
    return None


def install(packages: list[str], progress: Progress, instead: str = INSTEAD) -> None:
    """Runs apt-get without starting the services of the packages."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    try:
        if ours:
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        with step(progress, f"apt-get install {' '.join(packages)}", announce=True):
            run(["apt-get", "update", "-qq"], env=quiet)
            run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages], env=quiet)
    except CommandFailedError as error:
        raise MachineUnfitError(
            f"{', '.join(packages)} could not be installed ({error}): install them, or {instead}"
        ) from None
    finally:
        if ours:
            policy.unlink(missing_ok=True)


def debian() -> bool:
    """Whether root can install packages on this machine."""
    return Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None


def check(progress: Progress, more: Mapping[str, str] = MappingProxyType({})) -> None:
    """Installs what the machine lacks. Raises MachineUnfitError if it cannot host a testbed.

    more: other programs or files that are needed, with their packages.
    """
    packages = {**PACKAGES, **more}
    missing = missing_packages(packages=packages) if sys.platform == "linux" else []
    sentence = refusal(sys.platform, os.geteuid(), may_apt=debian(), missing=missing)
    if sentence:
        raise MachineUnfitError(sentence)
    if missing:
        install(missing, progress)
        still = missing_packages(packages=packages)
        if still:
            raise MachineUnfitError(
                f"the testbed needs {', '.join(still)}, which are installed but not found on PATH"
            )
