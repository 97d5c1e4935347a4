"""Keepalive settings of gRPC connections, and how often clients can ping."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Final

_LONGEST: Final = 2**31 - 1  # gRPC's limit for milliseconds


def _flag(default: int, option: str, least: int, most: int, text: str) -> Any:  # noqa: ANN401 - as dataclasses has it
    return field(default=default, metadata={"option": option, "least": least, "most": most, "text": text})


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Keepalive settings in milliseconds, under Triton's names.

    Clients behind a thin link or NAT ping often, also without calls. The defaults therefore allow more pings
    than gRPC's, which allow one each 5 minutes and none without a call.
    """

    keepalive_time: int = _flag(
        7_200_000,
        "grpc.keepalive_time_ms",
        1000,
        _LONGEST,
        "ms without activity after which a client is pinged",
    )
    keepalive_timeout: int = _flag(
        20_000,
        "grpc.keepalive_timeout_ms",
        1,
        _LONGEST,
        "ms without a response to a ping after which a connection is closed",
    )
    keepalive_permit_without_calls: int = _flag(
        1, "grpc.keepalive_permit_without_calls", 0, 1, "1: also ping without calls; 0: only during calls"
    )
    http2_max_pings_without_data: int = _flag(
        2,
        "grpc.http2.max_pings_without_data",
        0,
        1000,
        "maximum pings to a client between two data frames, 0 for no limit",
    )
    http2_min_recv_ping_interval_without_data: int = _flag(
        500,
        "grpc.http2.min_ping_interval_without_data_ms",
        0,
        _LONGEST,
        "minimum ms between two pings of a client; faster pings are strikes",
    )
    http2_max_ping_strikes: int = _flag(
        2,
        "grpc.http2.max_ping_strikes",
        0,
        1000,
        "strikes after which the next one closes a client's connection, 0 for no limit",
    )

    def options(self) -> list[tuple[str, int]]:
        """Channel arguments of gRPC."""
        return [(entry.metadata["option"], getattr(self, entry.name)) for entry in fields(self)]


DEFAULT: Final = KeepAlive()


def add_flags(command: ArgumentParser) -> None:
    """Adds a flag for each field."""
    group = command.add_argument_group("gRPC connections")
    for entry in fields(KeepAlive):
        about = entry.metadata
        group.add_argument(
            f"--grpc-{entry.name.replace('_', '-')}",
            dest=f"grpc_{entry.name}",
            type=_number(about["least"], about["most"]),
            default=entry.default,
            metavar="N",
            help=f"{about['text']} (default %(default)s)",
        )


def keepalive_of(arguments: Namespace) -> KeepAlive:
    """The settings from the flags."""
    return KeepAlive(**{entry.name: getattr(arguments, f"grpc_{entry.name}") for entry in fields(KeepAlive)})


def _number(least: int, most: int) -> Callable[[str], int]:
    words = {"false": "0", "true": "1"} if most == 1 else {}

    def read(text: str) -> int:
        text = words.get(text.lower(), text)
        if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= most):
            raise ArgumentTypeError(f'"{text}" is not a whole number from {least} to {most}')
        return int(text)

    return read
