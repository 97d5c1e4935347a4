"""The files that are served, each with its inputs: those that packages ship, exported and made ones."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.models import exported, packages
from benchmarks.models.inputs import InputValues
from benchmarks.models.made.files import MADE, written

HERE: Final = Path(__file__).parent
FOLDER: Final = HERE.parents[1] / ".cache" / "served-models"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file to serve.

    origin: the package that ships it, or how it was made. source: what says the shapes in use.
    """

    name: str
    kind: str
    origin: str
    path: Path
    inputs: Mapping[str, InputValues]
    source: str


def catalogue(only: Sequence[str] = ()) -> list[ModelFile]:
    """Returns the files, all of them or those whose name or kind contains one of `only`.

    Downloads and makes what is missing.
    """
    return chosen([*_packaged(), *_exported(), *_made()], only)


def chosen(files: Sequence[ModelFile], only: Sequence[str]) -> list[ModelFile]:
    """Returns those of the files that `only` selects."""
    return [f for f in files if not only or any(part in f"{f.name} {f.kind}" for part in only)]


def _packaged() -> list[ModelFile]:
    versions = packages.unpack(FOLDER / "packages")
    listed = tomllib.loads((HERE / "packaged.toml").read_text())
    return [
        ModelFile(
            name,
            each["kind"],
            f"{each['package']} {versions[each['package']]}",
            packages.with_digests(FOLDER / "packages" / each["package"] / each["file"]),
            _inputs(each["inputs"]),
            each["source"],
        )
        for name, each in listed.items()
    ]


def _exported() -> list[ModelFile]:
    paths = exported.export(FOLDER / "exported")
    listed = tomllib.loads((HERE / "exported.toml").read_text())
    return [
        ModelFile(name, each["kind"], each["by"], paths[name], _inputs(each["inputs"]), "the training data")
        for name, each in listed.items()
    ]


def _made() -> list[ModelFile]:
    return [
        ModelFile(
            one.name, one.kind, "made", written(one, FOLDER / "made"), one.inputs, "the script that makes it"
        )
        for one in MADE
    ]


def _inputs(listed: Mapping[str, Mapping[str, Any]]) -> dict[str, InputValues]:
    return {name: InputValues.of(each) for name, each in listed.items()}
