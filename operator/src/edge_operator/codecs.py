"""From measured accuracies to the codecs that a plan may use. Pure."""

from collections.abc import Iterable

from edge_operator.store import CodecAccuracies, CodecAccuracy
from edge_planning.problems import FP32, Codec

_RATIOS = {"fp16": 0.5, "int8": 0.25}
# Seconds per byte of fp32, on a node ten times slower than the one that docs/slicing.md measured.
_ENCODE = {"fp16": 1e-9, "int8": 2e-9}
_DECODE = {"fp16": 5e-10, "int8": 1e-9}
_SLACK = 16
"""Bytes beyond the ratio that do not matter: int8 sends a scale and a zero point for each tensor."""


def usable_codecs(found: CodecAccuracies | None) -> tuple[Codec, ...]:
    """fp32, and those that were measured, each for the exits and cuts at which it was and saves bytes.

    The loss is what the same cut loses against fp32 on the same samples, and no less than nothing.
    """
    if found is None or not found.complete:
        return (FP32,)
    plain = {(m.exit, m.cut_name): m for m in found.measured if m.codec == FP32.name}
    return (FP32, *(codec for name in _RATIOS if (codec := _codec(name, found.measured, plain)).at))


def _codec(
    name: str, measured: Iterable[CodecAccuracy], plain: dict[tuple[str, str], CodecAccuracy]
) -> Codec:
    losses = {}
    for each in measured:
        place = (each.exit, each.cut_name)
        before = plain.get(place)
        if each.codec == name and before and each.bytes <= _RATIOS[name] * before.bytes + _SLACK:
            losses[place] = max(before.accuracy - each.accuracy, 0.0)
    return Codec(name, _RATIOS[name], encode=_ENCODE[name], decode=_DECODE[name], at=losses)


def refusals(found: CodecAccuracies | None) -> str:
    """Where no codec is planned because the cut cannot carry it: the first reason, and how many there are."""
    if found is None or not found.refused:
        return ""
    first, more = found.refused[0], len(found.refused) - 1
    said = f"codec {first.codec} is not used at {'+'.join(first.cut)}: {first.why}"
    return f"{said} (and {more} more)" if more else said
