"""The parameters of a request, whatever transport it arrives by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge_api.words import shown_json
from edge_planning.routing.batches import DEFAULT_PRIORITY, PRIORITIES
from edge_runtime.errors import BadRequest
from edge_runtime.json_values import Json

_LONGEST_STREAM: Final = 128


@dataclass(frozen=True, slots=True)
class RequestParameters:
    """What a request asks for besides its tensors.

    timeout: the client's timeout in seconds; None without one.
    stream: the sequence that the request is part of; empty for none.
    starts, ends: whether it is the first or the last request of the sequence.
    priority: its place among the requests of its service, from 1.
    """

    timeout: float | None = None
    stream: str = ""
    starts: bool = False
    ends: bool = False
    priority: int = DEFAULT_PRIORITY


NO_PARAMETERS: Final = RequestParameters()


def parameters_of(get: Callable[[str], Json]) -> RequestParameters:
    """Reads the parameters. `get` returns the value of one, None if it is missing. Raises BadRequest."""
    return RequestParameters(
        timeout_of(get("timeout")),
        stream_of(get("sequence_id")),
        _flag("sequence_start", get("sequence_start")),
        _flag("sequence_end", get("sequence_end")),
        priority_of(get("priority")),
    )


def timeout_of(microseconds: Json) -> float | None:
    """The `timeout` parameter, which the protocol gives in microseconds, in seconds; None for 0 or none."""
    if microseconds is None:
        return None
    if type(microseconds) is not int or not 0 <= microseconds < 1 << 64:
        raise BadRequest(
            f"parameters.timeout: {shown_json(microseconds)} is not a number of microseconds: "
            f"write a whole number from 1, or 0 for none"
        )
    return microseconds * 1e-6 or None


def stream_of(sequence: Json) -> str:
    """The `sequence_id` parameter, a number or a string as in Triton; empty for 0, "" or none."""
    if sequence is None:
        return ""
    if isinstance(sequence, int) and not isinstance(sequence, bool) and 0 <= sequence < 1 << 64:
        return str(sequence or "")
    if isinstance(sequence, str) and len(sequence) <= _LONGEST_STREAM:
        return sequence
    raise BadRequest(
        f"parameters.sequence_id: {shown_json(sequence)} is not valid: write a whole number "
        f"or a string of at most {_LONGEST_STREAM} characters"
    )


def priority_of(number: Json) -> int:
    """The `priority` parameter; as in Triton, the default for none, 0 and numbers above the last level.

    Raises BadRequest.
    """
    if number is None:
        return DEFAULT_PRIORITY
    if type(number) is not int or not 0 <= number < 1 << 64:
        raise BadRequest(
            f"parameters.priority: {shown_json(number)} is not a priority: write a whole number from 1, "
            f"the first turn, to {PRIORITIES}, or 0 for the default"
        )
    return number if 1 <= number <= PRIORITIES else DEFAULT_PRIORITY


def _flag(name: str, value: Json) -> bool:
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"parameters.{name}: {shown_json(value)} is neither true nor false")
    return bool(value)
