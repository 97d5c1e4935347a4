"""Cached headers: which are kept, and the sequence in them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edge_runtime.errors import BadRequest
from edge_runtime.protocol.decoded_requests import DecodedRequest
from edge_runtime.protocol.header_layouts import HeaderCache, HeaderLayout
from edge_runtime.protocol.parameters import stream_of
from edge_runtime.protocol.requests import decode_request
from edge_runtime.tensors import Contract, Tensor

CONTRACT = Contract([Tensor("x", "FP32", (-1, 2))], [Tensor("y", "FP32", (-1, 2))])
ROW = np.array([[1, 2]], np.float32)


def read(header_cache: HeaderCache, **parameters: object) -> tuple[DecodedRequest, bytes]:
    entry = {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    header = json.dumps({"inputs": [entry], "parameters": parameters}).encode()
    return decode_request(header + ROW.tobytes(), str(len(header)), CONTRACT, header_cache), header


def test_the_sequence_is_that_of_the_request_also_when_its_header_is_known() -> None:
    header_cache = HeaderCache()
    for _ in range(2):
        for sequence, stream in (
            (7, "7"),
            ("camera", "camera"),
            (0, ""),
            ("", ""),
            (2**64 - 1, str(2**64 - 1)),
        ):
            request, header = read(header_cache, sequence_id=sequence)
            assert request.parameters.stream == stream
            layout = header_cache.find(CONTRACT, header)
            assert layout is not None
            assert layout.parameters.stream == stream
    assert read(header_cache)[0].parameters.stream == ""


def test_headers_that_are_new_each_time_do_not_drive_out_the_one_that_comes_again() -> None:
    header_cache = HeaderCache()
    _, steady = read(header_cache)
    headers = []
    for i in range(2000):
        headers.append(read(header_cache, sequence_id=i + 1)[1])
        assert header_cache.find(CONTRACT, steady) is not None
    known = [header_cache.find(CONTRACT, header) is not None for header in headers]
    assert sum(known) == 255
    assert all(known[-255:])


def test_another_contract_starts_with_nothing_and_long_headers_are_not_kept() -> None:
    header_cache = HeaderCache()
    _, header = read(header_cache)
    again = Contract(CONTRACT.inputs, CONTRACT.outputs)
    assert header_cache.find(again, header) is None
    header_cache.keep(again, header, HeaderLayout([], []))
    assert header_cache.find(CONTRACT, header) is None
    assert header_cache.find(again, header) is not None
    header_cache.keep(again, b"x" * 4097, HeaderLayout([], []))
    assert header_cache.find(again, b"x" * 4097) is None


@pytest.mark.parametrize("sequence", [True, -1, 2**64, 1.0, "x" * 129, [], {}])
def test_what_is_not_a_sequence_is_refused(sequence: object) -> None:
    with pytest.raises(BadRequest, match=r"^parameters\.sequence_id: .* is not valid"):
        stream_of(sequence)
