"""The flags of `edge-runtime serve` that keep the state of a recurrent model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from edge_runtime import flag_values
from edge_runtime.errors import BadRequest
from edge_runtime.sequences.settings import IDLE, MOST, StatePair, StateSettings
from edge_runtime.tensors import NUMPY_TYPES, Contract


@dataclass(frozen=True, slots=True)
class WantedState:
    """The pairs of output, input and initial value that the flags name, and the limits of sequences."""

    pairs: Sequence[tuple[str, str, float]]
    most: int = MOST
    idle: float = IDLE


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; by default clients send and receive all tensors."""
    group = parser.add_argument_group("recurrent models (docs/sequences.md)")
    group.add_argument(
        "--state",
        type=_pair,
        action="append",
        default=[],
        metavar="OUTPUT=INPUT[:INITIAL]",
        help="keep this output for the input of the next request with the same sequence_id; INITIAL is the "
        "number for the first one, default 0; repeat for each pair",
    )
    group.add_argument(
        "--max-sequences", type=flag_values.count, help=f"sequences that are kept at once, default {MOST}"
    )
    group.add_argument(
        "--sequence-idle",
        type=flag_values.duration,
        metavar="DURATION",
        help=f"time without a request after which a sequence has expired, default {IDLE:g}s",
    )


def state_of(arguments: argparse.Namespace) -> WantedState | None:
    """The state given by the flags. Raises BadRequest for a detail without a state, and for one beside
    memoization.
    """
    for flag, value in (
        ("--max-sequences", arguments.max_sequences),
        ("--sequence-idle", arguments.sequence_idle),
    ):
        if value is not None and not arguments.state:
            raise BadRequest(f"{flag}: has no effect without --state: add it, e.g. --state stateN=state")
    if not arguments.state:
        return None
    if arguments.filter_threshold is not None or arguments.cache_bytes is not None:
        flag = "--filter-threshold" if arguments.filter_threshold is not None else "--cache-bytes"
        raise BadRequest(
            f"{flag}: reuses responses to similar inputs, but those of a model with --state depend on the "
            f"requests before: remove one of the two"
        )
    most = MOST if arguments.max_sequences is None else arguments.max_sequences
    idle = IDLE if arguments.sequence_idle is None else arguments.sequence_idle
    return WantedState(arguments.state, most, idle)


def settings_for(
    wanted: WantedState, contract: Contract, shapes: Mapping[str, Sequence[int]], model: str
) -> StateSettings:
    """The settings for a model with this contract. shapes: those given with --shape, by input.

    Raises BadRequest for a tensor that the model lacks, and for an open size that is not given.
    """
    pairs = []
    for output, input_, value in wanted.pairs:
        takes = contract.inputs_by_name.get(input_)
        if takes is None or output not in contract.outputs_by_name:
            raise BadRequest(
                f"--state {output}={input_}: the model has the inputs {', '.join(contract.inputs_by_name)} "
                f"and the outputs {', '.join(contract.outputs_by_name)}"
            )
        if takes.datatype == "BYTES":
            raise BadRequest(f"--state {output}={input_}: {input_} has strings, which cannot be a state")
        shape = shapes.get(input_)
        if shape is None:
            shape = [1 if i == 0 and size < 0 else size for i, size in enumerate(takes.shape)]
        if takes.any_rank or any(size < 0 for size in shape):
            raise BadRequest(
                f"--state {output}={input_}: {input_} has open dimensions ({list(takes.shape)}): give its "
                f"shape, e.g. --shape {input_}=2x1x128"
            )
        if not takes.fits(tuple(shape)):
            raise BadRequest(
                f"--shape {input_}={'x'.join(map(str, shape))}: the model has {list(takes.shape)}"
            )
        pairs.append(StatePair(output, input_, np.full(shape, value, NUMPY_TYPES[takes.datatype])))
    twice = {pair.input for pair in pairs if sum(other.input == pair.input for other in pairs) > 1}
    if twice:
        raise BadRequest(f"--state: {', '.join(sorted(twice))} is named twice: name each input once")
    return StateSettings(model, tuple(pairs), wanted.most, wanted.idle)


def _pair(text: str) -> tuple[str, str, float]:
    names, colon, number = text.rpartition(":")
    if not colon:
        names, number = text, "0"
    output, equals, input_ = names.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not output or not equals or not input_ or not isfinite(value):
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a pair: write the names of an output and an input, e.g. stateN=state, or '
            f"stateN=state:1 for states that begin with 1"
        )
    return output, input_, value
