"""Derives the codecs that a plan can use from measured accuracies. Pure.

The model store measures every codec that it has, so the operator names none.
"""

from collections.abc import Iterable

from edge_operator.store_answers import CodecAccuracies, CodecAccuracy
from edge_planning.problems import FP32, Codec

# Seconds per byte of fp32 that any codec is assumed to take, on a node ten times slower than the one that
# docs/slicing.md measured.
_ENCODE = 2e-9
_DECODE = 1e-9


def usable_codecs(found: CodecAccuracies | None) -> tuple[Codec, ...]:
    """Returns fp32 and each measured codec, with the exits and cuts at which it was measured and saves bytes.

    The accuracy loss is that against fp32 at the same cut on the same samples, at least 0.
    """
    if found is None or not found.complete:
        return (FP32,)
    plain = {(m.exit, m.cut_name): m for m in found.measured if m.codec == FP32.name}
    names = dict.fromkeys(m.codec for m in found.measured if m.codec != FP32.name)
    return (FP32, *(codec for name in names if (codec := _codec(name, found.measured, plain)).at))


def _codec(
    name: str, measured: Iterable[CodecAccuracy], plain: dict[tuple[str, str], CodecAccuracy]
) -> Codec:
    losses, sizes = {}, {}
    for each in measured:
        place = (each.exit, each.cut_name)
        before = plain.get(place)
        if each.codec == name and before and each.bytes < before.bytes:
            losses[place], sizes[place] = max(before.accuracy - each.accuracy, 0.0), each.bytes
    return Codec(name, encode=_ENCODE, decode=_DECODE, at=losses, sizes=sizes)


def refusals(found: CodecAccuracies | None) -> str:
    """Returns the first reason why a cut cannot use a codec, and how many more there are; empty if none."""
    if found is None or not found.refused:
        return ""
    first, more = found.refused[0], len(found.refused) - 1
    said = f"codec {first.codec} is not used at {'+'.join(first.cut)}: {first.why}"
    return f"{said} (and {more} more)" if more else said
