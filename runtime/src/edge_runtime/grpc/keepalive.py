"""How gRPC connections are kept alive, and how often callers may ping."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Final

_LONGEST: Final = 2**31 - 1  # as gRPC counts milliseconds


def _flag(default: int, option: str, least: int, most: int, text: str) -> Any:  # noqa: ANN401 - as dataclasses has it
    return field(default=default, metadata={"option": option, "least": least, "most": most, "text": text})


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Times are in milliseconds. The names are Triton's.

    Callers behind a thin link or an address translation ping often, also while nothing is asked, so more
    pings are taken than gRPC would by itself: there one each 5 minutes, and none while there is no call.
    """

    keepalive_time: int = _flag(
        7_200_000,
        "grpc.keepalive_time_ms",
        1000,
        _LONGEST,
        "ms without activity after which a caller is pinged",
    )
    keepalive_timeout: int = _flag(
        20_000,
        "grpc.keepalive_timeout_ms",
        1,
        _LONGEST,
        "ms after which a ping without an answer ends a connection",
    )
    keepalive_permit_without_calls: int = _flag(
        1, "grpc.keepalive_permit_without_calls", 0, 1, "1: pings while there is no call, too; 0: none"
    )
    http2_max_pings_without_data: int = _flag(
        2,
        "grpc.http2.max_pings_without_data",
        0,
        1000,
        "pings to a caller between two data frames, 0 for any",
    )
    http2_min_recv_ping_interval_without_data: int = _flag(
        500,
        "grpc.http2.min_ping_interval_without_data_ms",
        0,
        _LONGEST,
        "ms between two pings of a caller, below which they are strikes",
    )
    http2_max_ping_strikes: int = _flag(
        2,
        "grpc.http2.max_ping_strikes",
        0,
        1000,
        "strikes that end a caller's connection if there is one more, 0 for none",
    )

    def options(self) -> list[tuple[str, int]]:
        """What gRPC is told."""
        return [(entry.metadata["option"], getattr(self, entry.name)) for entry in fields(self)]


DEFAULT: Final = KeepAlive()


def add_flags(command: ArgumentParser) -> None:
    """One flag for each field."""
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
    """What the flags say."""
    return KeepAlive(**{entry.name: getattr(arguments, f"grpc_{entry.name}") for entry in fields(KeepAlive)})


def _number(least: int, most: int) -> Callable[[str], int]:
    words = {"false": "0", "true": "1"} if most == 1 else {}

    def read(text: str) -> int:
        text = words.get(text.lower(), text)
        if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= most):
            raise ArgumentTypeError(f'"{text}" is no whole number from {least} to {most}')
        return int(text)

    return read
