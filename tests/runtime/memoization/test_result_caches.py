"""Which results are cached by their inputs' digest, for how long, and for which requests."""

from __future__ import annotations

from collections import OrderedDict
from unittest import mock

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from edge_runtime.memoization import result_caches
from edge_runtime.memoization.result_caches import ResultCache
from edge_runtime.memoization.settings import CacheOptions
from edge_runtime.responses import InferenceResponse


def response(value: int, accuracy: float = 0.9, size: int = 100) -> InferenceResponse:
    return InferenceResponse([np.full(size, value, np.float32)], {"exit": "final"}, accuracy)


def key(i: int, *outputs: str) -> tuple[bytes, tuple[str, ...]]:
    return bytes([i]), outputs


def test_a_result_is_found_by_its_inputs_and_outputs_until_it_is_too_old() -> None:
    cache = ResultCache(CacheOptions(max_age=10.0))
    assert cache.find(key(1), 0.9, 0.0) == ("miss", None)
    cache.keep(key(1), response(7), 0.0)
    outcome, found = cache.find(key(1), 0.9, 10.0)
    assert outcome == "hit"
    assert found is not None
    assert found.outputs[0][0] == 7
    assert cache.find(key(1, "exit1"), 0.9, 1.0) == ("miss", None)
    assert cache.find(key(1), 0.9, 10.5) == ("stale", None)
    assert cache.find(key(1), 0.9, 10.5) == ("miss", None)
    assert cache.bytes == 0


def test_a_less_accurate_result_is_not_a_hit_while_a_better_route_answers() -> None:
    cache = ResultCache(CacheOptions())
    cache.keep(key(1), response(1, accuracy=0.8), 0.0)
    assert cache.find(key(1), 0.95, 1.0) == ("stale", None)
    assert cache.find(key(1), 0.8, 1.0)[0] == "hit"
    cache.keep(key(1), response(2, accuracy=0.95), 1.0)
    assert cache.find(key(1), 0.95, 2.0)[0] == "hit"
    cache.keep(key(1), response(3, accuracy=0.8), 2.0)  # of a fallback: the more accurate one stays
    found = cache.find(key(1), 0.8, 3.0)[1]
    assert found is not None
    assert found.outputs[0][0] == 2
    cache.keep(key(1), response(4, accuracy=0.8), 100.0)  # but not if it is too old
    assert cache.find(key(1), 0.8, 100.0)[0] == "hit"


def test_other_bounds_keep_what_is_within_them() -> None:
    cache = ResultCache(CacheOptions(max_bytes=10_000))
    for i in range(5):
        cache.keep(key(i), response(i), 0.0)
    assert len(cache) == 5
    cache.use(CacheOptions(max_bytes=2_000, max_age=1.0))
    assert len(cache) == 2
    assert cache.find(key(4), 0.9, 1.0)[0] == "hit"
    assert cache.find(key(3), 0.9, 1.1)[0] == "stale"


def test_a_result_is_kept_without_the_batch_that_it_is_a_view_of() -> None:
    batch = np.zeros((1000, 100), np.float32)
    cache = ResultCache(CacheOptions())
    cache.keep(key(1), InferenceResponse([batch[3:4]], {}), 0.0)
    found = cache.find(key(1), 0.0, 0.0)[1]
    assert found is not None
    assert found.outputs[0].base is None
    assert cache.bytes < 1000
    words = InferenceResponse([np.array(["x" * 5000], object)], {})
    cache.keep(key(2), words, 0.0)
    assert cache.bytes > 5000


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 900), st.floats(0, 1), st.floats(0, 5)), max_size=60
    )
)
def test_the_bytes_of_arrays_never_exceed_the_bound(steps: list[tuple[int, int, float, float]]) -> None:
    cache, now, known = ResultCache(CacheOptions(max_bytes=8_000, max_age=20.0)), 0.0, dict[int, int]()
    for which, size, accuracy, pause in steps:
        now += pause
        cache.keep(key(which), response(which, accuracy, size), now)
        known[which] = which
        assert cache.bytes <= 8_000
        assert cache.bytes >= 512 * len(cache)
        outcome, found = cache.find(key(which), 0.0, now)
        assert (outcome == "hit") == (found is not None)
        if found is not None and found.outputs[0].size:
            assert found.outputs[0][0] == which


USES = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), st.integers(0, 9), st.integers(0, 900)),
        st.tuples(st.just("find"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("bound"), st.integers(0, 12_000), st.just(0)),
    ),
    max_size=80,
)


@given(USES)
@example([("keep", 0, 100), ("keep", 1, 900), ("bound", 1000, 0)])
def test_the_least_recently_used_results_go_first_beyond_either_bound(
    uses: list[tuple[str, int, int]],
) -> None:
    limit, model = 8_000, OrderedDict[int, int]()
    cache = ResultCache(CacheOptions(max_bytes=limit))
    with mock.patch.object(result_caches, "_ENTRIES", 5):
        for use, which, size in uses:
            match use:
                case "keep":
                    cache.keep(key(which), response(which, size=size), 0.0)
                    model.pop(which, None)
                    if 512 + 4 * size <= limit:
                        model[which] = 512 + 4 * size
                case "find":
                    assert (cache.find(key(which), 0.0, 0.0)[0] == "hit") == (which in model)
                    if which in model:
                        model.move_to_end(which)
                case _:
                    limit = which
                    cache.use(CacheOptions(max_bytes=limit))
            while sum(model.values()) > limit or len(model) > 5:
                model.popitem(last=False)
            assert cache.bytes == sum(model.values())
            assert len(cache) == len(model)
