"""The shapes of inputs in a manifest or in a file's metadata, checked against the file."""

import json

import pytest

from edge_planning.declared_inputs import (
    BadInputError,
    UnknownSize,
    check_inputs,
    parse_inputs,
    stated_shapes,
    what_to_write,
)
from edge_planning.request_shapes import RequestShape

INPUTS = {"images": ("N", 3, "H", "W"), "scale": ("N", "H")}
DATATYPES = {"images": "FP32", "scale": "INT64"}
LARGE, SMALL = [1, 3, 640, 480], [1, 3, 320, 240]


def test_one_shape_is_both_the_typical_and_the_largest() -> None:
    (found,) = check_inputs([{"name": "images", "shape": LARGE}], INPUTS)
    assert found.typical == found.largest == tuple(LARGE)


def test_a_size_holds_for_every_dimension_of_its_name() -> None:
    declared = check_inputs([{"name": "images", "maxShape": LARGE, "typicalShape": SMALL}], INPUTS)
    stated = stated_shapes(INPUTS, declared)
    assert stated.largest == RequestShape.of({"images": LARGE, "scale": (1, 640)})
    assert stated.typical == RequestShape.of({"images": SMALL, "scale": (1, 320)})
    assert stated.unknown == ()


def test_a_model_with_only_the_batch_open_needs_no_shapes() -> None:
    assert stated_shapes({"x": ("N", 4)}, ()).largest == RequestShape.of({"x": (1, 4)})


def test_what_nothing_states_is_listed_with_what_to_write() -> None:
    declared = check_inputs([{"name": "scale", "shape": [1, 64]}], INPUTS)
    stated = stated_shapes(INPUTS, declared)
    assert stated.largest is None
    assert stated.unknown == (UnknownSize("images", 3, "W"),)
    assert what_to_write(INPUTS, stated.unknown) == "inputs: [{name: images, shape: [1, 3, <H>, <W>]}]"


def test_metadata_are_a_json_list() -> None:
    (found,) = parse_inputs(json.dumps([{"name": "scale", "shape": [1, 9]}]), INPUTS, DATATYPES)
    assert found.largest == (1, 9)


@pytest.mark.parametrize(
    ("entries", "path", "problem"),
    [
        ({}, "", "is not a list of inputs"),
        ([3], "[0]", "is not an input"),
        ([{"name": "image", "shape": LARGE}], "[0].name", "is not an input of the graph"),
        ([{"name": "images"}], "[0]", "does not state one shape"),
        ([{"name": "images", "shape": LARGE, "maxShape": LARGE}], "[0]", "does not state one shape"),
        ([{"name": "images", "shape": LARGE, "typicalShape": LARGE}], "[0]", "does not state one shape"),
        ([{"name": "images", "shape": [1, 3, 640]}], "[0].shape", "has 3 dimensions, but the input has 4"),
        ([{"name": "images", "shape": [1, 4, 640, 480]}], "[0].shape[1]", "is fixed to 3 by the file"),
        ([{"name": "images", "shape": [1, 3, "H", 480]}], "[0].shape", "is not a shape"),
        ([{"name": "images", "shape": [1, 3, True, 480]}], "[0].shape", "is not a shape"),
        ([{"name": "images", "shape": [1, 3, -1, 480]}], "[0].shape", "is not a shape"),
        (
            [{"name": "images", "maxShape": SMALL, "typicalShape": LARGE}],
            "[0].typicalShape",
            "exceeds maxShape",
        ),
        ([{"name": "scale", "shape": [1, 9], "datatype": "FP32"}], "[0].datatype", "is not that of scale"),
        (
            [{"name": "scale", "shape": [1, 9]}, {"name": "scale", "shape": [1, 9]}],
            "[1].name",
            "is listed twice",
        ),
    ],
)
def test_an_entry_that_does_not_fit_the_file_is_named(entries: object, path: str, problem: str) -> None:
    with pytest.raises(BadInputError) as caught:
        check_inputs(entries, INPUTS, DATATYPES)
    assert (caught.value.path, problem in caught.value.problem) == (path, True)


def test_text_other_than_json_is_refused() -> None:
    with pytest.raises(BadInputError, match="is not JSON"):
        parse_inputs("[", INPUTS)
