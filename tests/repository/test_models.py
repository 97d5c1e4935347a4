"""The files of `make models` as data: their packages are locked, and their shapes fit each other."""

import tomllib
from pathlib import Path

from benchmarks.models.inputs import InputValues
from benchmarks.models.made.files import MADE
from benchmarks.models.packages import locked

LISTED = tomllib.loads(Path("benchmarks/models/packaged.toml").read_text())
EXPORTED = tomllib.loads(Path("benchmarks/models/exported.toml").read_text())


def test_every_package_of_the_lock_has_a_file_and_every_file_a_locked_package() -> None:
    assert {each["package"] for each in LISTED.values()} == locked().keys()


def test_names_differ_since_services_have_them() -> None:
    names = [*LISTED, *EXPORTED, *(made.name for made in MADE)]
    assert len(set(names)) == len(names)


def test_another_shape_has_as_many_dimensions_as_the_one_in_use() -> None:
    for name, listed in (LISTED | EXPORTED).items():
        for given in map(InputValues.of, listed["inputs"].values()):
            assert given.other is None or len(given.other) == len(given.shape), name
