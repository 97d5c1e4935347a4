"""`--shape`, `--input` and `--samples`: the given inputs to measure a model on."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from edge_runtime.errors import BadRequest

AnyValue = TypeVar("AnyValue")

_MOST_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Given:
    """Shapes and values by input, the values as text, and a file of samples."""

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    samples: Path | None = None

    def document(self) -> dict[str, Any]:
        """The given inputs as JSON."""
        return {
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "values": dict(self.values),
            "samples": None if self.samples is None else str(self.samples),
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Given:
        """Reads its JSON document."""
        shapes = {name: tuple(shape) for name, shape in document["shapes"].items()}
        samples = document["samples"]
        return cls(shapes, document["values"], None if samples is None else Path(samples))


NOTHING: Final = Given()


def add_flags(command: argparse.ArgumentParser) -> None:
    """Adds the three flags."""
    command.add_argument(
        "--shape",
        type=_shape,
        action="append",
        default=[],
        metavar="NAME=SIZES",
        help="shape of an input with open dimensions, e.g. images=1x3x640x640; repeat for each input",
    )
    command.add_argument(
        "--input",
        type=_value,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="values of an input: @file.npy, a JSON list, or one value for all elements; default 0",
    )
    command.add_argument(
        "--samples",
        type=Path,
        metavar="FILE.npz",
        help="arrays by the name of the input, each with its samples along the first dimension",
    )


def given_by(arguments: argparse.Namespace) -> Given:
    """The inputs given by the flags. Raises BadRequest for an input that is named twice."""
    return Given(_once("--shape", arguments.shape), _once("--input", arguments.input), arguments.samples)


def _once(flag: str, entries: Sequence[tuple[str, AnyValue]]) -> dict[str, AnyValue]:
    found: dict[str, AnyValue] = {}
    for name, value in entries:
        if name in found:
            raise BadRequest(f'{flag}: "{name}" is given twice: give it once')
        found[name] = value
    return found


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, equals, sizes = text.rpartition("=")
    parts = sizes.split("x") if sizes else []
    if not name or not equals or not all(map(_is_size, parts)):
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a shape: write the name of an input and its sizes, e.g. images=1x3x640x640'
        )
    return name, tuple(map(int, parts))


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def _value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(
            f'"{text}" has no values: write the name of an input and its values, e.g. '
            f"images=@images.npy or rate=16000"
        )
    return name, value
