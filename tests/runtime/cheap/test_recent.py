"""What is kept stays within its bounds, and goes in the order of its last use."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.cheap.recent import Recent

KEYS = st.integers(0, 9)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), KEYS, st.integers(0, 60)),
        st.tuples(st.just("find"), KEYS, st.just(0)),
        st.tuples(st.just("forget"), KEYS, st.just(0)),
        st.tuples(st.just("bound"), st.integers(0, 120), st.just(0)),
    ),
    max_size=80,
)


@given(STEPS)
def test_it_is_a_list_by_last_use_cut_where_its_bounds_are(steps: list[tuple[str, int, int]]) -> None:
    recent: Recent[int, str] = Recent(100, 5)
    limit, model = 100, OrderedDict[int, int]()
    for step, key, size in steps:
        match step:
            case "keep":
                recent.keep(key, f"v{key}", size)
                model.pop(key, None)
                if size <= limit:
                    model[key] = size
            case "find":
                assert recent.find(key) == (f"v{key}" if key in model else None)
                if key in model:
                    model.move_to_end(key)
            case "forget":
                recent.forget(key)
                model.pop(key, None)
            case _:
                limit = key
                recent.bound(key)
        while sum(model.values()) > limit or len(model) > 5:
            model.popitem(last=False)
        assert recent.bytes == sum(model.values()) <= limit
        assert len(recent) == len(model) <= 5
    assert [recent.find(key) is not None for key in range(10)] == [key in model for key in range(10)]
