"""A header that is used again is the one that would have been written."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.protocol.decoded_requests import DecodedRequest
from edge_runtime.protocol.responses import RepeatedHeader, encode_response
from edge_runtime.responses import InferenceResponse
from edge_runtime.tensors import Array, Contract, Tensor

A, B = Tensor("a", "FP32", (-1, 2)), Tensor("b", "INT64", (-1,))
CONTRACTS = (Contract([A], [A, B]), Contract([A], [A, Tensor("b", "FP16", (-1,))]))
ASKED = ([("a", True), ("b", True)], [("b", True)], [("a", True), ("b", False)], [("a", False)])
ARRAYS: dict[str, Array] = {"a": np.ones((3, 2), np.float32), "b": np.arange(3)}
OWN = Tensor("own", "FP32", (-1, 2))


def response_to(outputs: list[tuple[str, bool]], rows: int, parameters: dict[str, bool]) -> InferenceResponse:
    arrays: list[Array] = [ARRAYS[name][:rows] for name, _ in outputs]
    return InferenceResponse(arrays, parameters)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(CONTRACTS),
            st.sampled_from(ASKED),
            st.sampled_from(["", "one", "two"]),
            st.integers(0, 3),
            st.sampled_from([{}, {"deadline_met": True}, {"deadline_met": False}]),
            st.sampled_from([{}, {"a": 1}]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_it_is_that_of_the_same_response_after_any_others(
    responses: list[tuple[Contract, list[tuple[str, bool]], str, int, dict[str, bool], dict[str, int]]],
) -> None:
    header = RepeatedHeader("m", "1")
    for contract, outputs, identity, rows, parameters, classes in responses:
        request = DecodedRequest({}, outputs, identity, classes=classes if rows else {})
        response = response_to(outputs, rows, parameters)
        wanted = encode_response("m", "1", request, contract, response.outputs, parameters)
        found = header.encode(request, contract, response)
        assert (b"".join(found[0]), found[1]) == (b"".join(wanted[0]), wanted[1])


def test_an_exit_with_outputs_of_its_own_has_their_names() -> None:
    header, request = RepeatedHeader("m", "1"), DecodedRequest({}, ASKED[0], named=False)
    own = InferenceResponse([ARRAYS["a"]], {}, tensors=[OWN])
    for response in (response_to(ASKED[0], 1, {}), own):
        parts, _ = header.encode(request, CONTRACTS[0], response)
    assert b'"own"' in bytes(parts[0])
    assert b'"own"' not in bytes(header.encode(request, CONTRACTS[0], response_to(ASKED[0], 1, {}))[0][0])
