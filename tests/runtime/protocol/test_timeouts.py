"""The remaining time of a request, as sent to the next stage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.protocol.header_layouts import HeaderCache, HeaderLayout
from edge_runtime.protocol.requests import decode_request, encode_request, timeout_for
from edge_runtime.tensors import Contract, Tensor

PIECE = Tensor("pool1", "FP32", (-1, 4))
CONTRACT = Contract([PIECE], [Tensor("logits", "FP32", (-1, 10))])


class CountedHeaderCache(HeaderCache):
    kept = 0

    def keep(self, contract: Contract, header: bytes, layout: HeaderLayout) -> None:
        self.kept += 1
        super().keep(contract, header, layout)


def _body(within: float | None) -> tuple[bytes, str]:
    header, *raw = encode_request([PIECE], [np.zeros((1, 4), np.float32)], ["logits"], within)
    return b"".join([header, *raw]), str(len(header))


@pytest.mark.parametrize(
    ("seconds", "microseconds"),
    [
        (0.092, 90112),
        (0.0921, 90112),
        (0.1, 98304),
        (1.0, 983040),
        (0.00002, 20),
        (1e-9, 1),
        (3600.0, 26 << 27),
    ],
)
def test_the_remaining_time_is_written_in_few_digits(seconds: float, microseconds: int) -> None:
    assert timeout_for(seconds) == microseconds


@given(st.floats(1e-4, 1e4))
def test_the_remaining_time_is_rounded_down_by_at_most_a_sixteenth(seconds: float) -> None:
    told = timeout_for(seconds) * 1e-6
    assert seconds * 15 / 16 - 1e-6 <= told <= seconds


def test_the_next_stage_reads_what_is_left() -> None:
    assert decode_request(*_body(0.1), CONTRACT).parameters.timeout == pytest.approx(0.098304)
    assert decode_request(*_body(None), CONTRACT).parameters.timeout is None


def test_headers_with_ever_different_times_are_still_remembered() -> None:
    header_cache = CountedHeaderCache()
    rng = np.random.default_rng(4)
    for left in rng.uniform(0.080, 0.096, 1000):  # an SLO of 100 ms, behind heads of up to 16 ms
        assert decode_request(*_body(float(left)), CONTRACT, header_cache).parameters.timeout is not None
    assert header_cache.kept <= 6
