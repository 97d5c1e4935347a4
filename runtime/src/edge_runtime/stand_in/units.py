"""The systemd unit that starts a command of this program with the host. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARKER: Final = "# Installed by edge-runtime"
"""How each of its units begins."""
_STOP: Final = 60
"""Seconds that systemd waits for the end: longer than draining and the grace period of requests."""
_HARDENING: Final = (
    "NoNewPrivileges=yes",
    "PrivateTmp=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelTunables=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
)
_CAPABILITIES: Final = (
    "CAP_NET_ADMIN CAP_SETUID CAP_SETGID CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_KILL"
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit by its name without `.service`.

    command: with absolute path of the program. version: of the installed files. nft: the host's program, for
    a command that redirects ports; None: it serves ports of its own, as a user without rights.
    """

    name: str
    command: Sequence[str]
    version: str
    nft: Path | None = None

    @property
    def text(self) -> str:
        """The content of the unit's file."""
        what = (
            "Serve this node's services until Kubernetes starts their pods"
            if self.nft is not None
            else "Serve ONNX models by the Open Inference Protocol"
        )
        return "\n".join(
            [
                f"{MARKER} {self.version}; `edge-runtime remove-unit --name {self.name}` removes it.",
                "[Unit]",
                f"Description={what}",
                "After=network.target nftables.service firewalld.service",
                "",
                "[Service]",
                "Type=exec",
                f"ExecStart={' '.join(map(quoted, self.command))}",
                *self._own(),
                "RestartSec=2",
                f"TimeoutStopSec={_STOP}",
                "Environment=PYTHONUNBUFFERED=1",
                *_HARDENING,
                "",
                "[Install]",
                "WantedBy=multi-user.target",
                "",
            ]
        )

    def _own(self) -> Sequence[str]:
        if self.nft is None:
            return ("Restart=always", "DynamicUser=yes")
        return (
            f"ExecStopPost=-{quoted(str(self.nft))} delete table inet edge-runtime",
            "Restart=on-failure",
            "KillMode=mixed",
            "ProtectHome=yes",
            f"CapabilityBoundingSet={_CAPABILITIES}",
        )


def quoted(word: str) -> str:
    """Returns a word of a command line as systemd reads it back."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    plain = escaped == word and word and not any(c.isspace() or c in "';" for c in word)
    return word if plain else f'"{escaped}"'
