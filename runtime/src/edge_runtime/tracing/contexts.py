"""The trace that a request is part of: W3C Trace Context (https://www.w3.org/TR/trace-context/).

Without spans, valid headers are forwarded to the next hop unchanged. `edge_runtime.tracing.startup` decides
whether spans are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_MEMBER: Final = re.compile(r"([a-z0-9][a-z0-9_\-*/@]{0,255})=([ -+\--<>-~]{0,255}[!-+\--<>-~])")
_MOST_MEMBERS: Final = 32
_LONGEST_STATE: Final = 512
_LONG_MEMBER: Final = 128


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A client's position in a trace: hexadecimal ids, numeric flags, and both headers to forward."""

    trace_id: str
    span_id: str
    flags: int
    parent: str
    state: str

    def lines(self) -> str:
        """The headers, unchanged."""
        state = f"tracestate: {self.state}\r\n" if self.state else ""
        return f"traceparent: {self.parent}\r\n{state}"


def parse(parents: Iterable[str], states: Iterable[str] = ()) -> TraceContext | None:
    """Parses the values of the headers; None without a valid traceparent, or with several."""
    given = list(parents)
    match = _PARENT.fullmatch(given[0].strip(" \t")) if len(given) == 1 else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceContext(trace_id, span_id, int(flags, 16), match[0], parse_state(",".join(states)))


def parse_state(text: str) -> str:
    """A tracestate to forward: empty if it is invalid, shortened if it is too long."""
    members = [stripped for member in text.split(",") if (stripped := member.strip(" \t"))]
    keys = {match[1] for member in members if (match := _MEMBER.fullmatch(member))}
    if len(keys) != len(members) or len(members) > _MOST_MEMBERS:
        return ""
    size = sum(map(len, members)) + len(members) - 1
    for long in (True, False):
        for member in reversed(members):
            if size <= _LONGEST_STATE:
                break
            if not long or len(member) > _LONG_MEMBER:
                members.remove(member)
                size -= len(member) + 1
    return ",".join(members)


class Trace:
    """Events of a request that a trace can record. This one records nothing; `lines` go to the next hop."""

    __slots__ = ("lines",)
    recording = False

    def __init__(self, lines: str = "") -> None:
        self.lines = lines

    def hop(self, url: str, place: str, model: str) -> Trace:
        """Around a hop; its `lines` are the headers to send."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def status(self, code: int) -> None:
        """Records the status of the response, in the transport's terms."""

    def answered(self, parameters: Mapping[str, str | bool | float]) -> None:
        """Records the parameters of the response."""

    def ended(self, outcome: str) -> None:
        """Records the outcome of the request."""

    def stage(self, route: str, seconds: float) -> None:
        """Records a stage at this node that has just ended."""

    def hopped(self, route: str, outcome: str) -> None:
        """Records a hop that has just ended."""


NOTHING: Final = Trace()
current: ContextVar[Trace] = ContextVar("trace", default=NOTHING)


def carry(headers: Iterable[tuple[bytes | str, bytes | str]]) -> None:
    """Stores traceparent and tracestate, if any, of the request that is being read."""
    if not current.get().recording:
        context = read(headers)
        current.set(Trace(context.lines()) if context is not None else NOTHING)


def read(headers: Iterable[tuple[bytes | str, bytes | str]]) -> TraceContext | None:
    """The context in a request's headers, whose names are in lower case."""
    parents, states = [], []
    for name, value in headers:
        if name in (b"traceparent", "traceparent"):
            parents.append(_text(value))
        elif name in (b"tracestate", "tracestate"):
            states.append(_text(value))
    return parse(parents, states) if parents else None


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
