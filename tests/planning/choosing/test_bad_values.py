import math
from collections.abc import Callable

import pytest

from edge_planning import (
    FP32,
    BadValueError,
    ClassProfile,
    Cut,
    EntryProblem,
    Exit,
    Model,
    Slo,
    Tables,
    Timing,
    candidates,
    choose,
)
from messages import mentions

EXIT = Exit("full", "logits", 0.9, (Cut("image", 10),))
MODEL = Model("m", (EXIT,))
PROFILE = ClassProfile("edge", {("image", "logits"): Timing(0.1, 0.1)})

OPTIONS = candidates(EntryProblem(MODEL, PROFILE, None, 0, Slo(1)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Cut("pool", 0), "cut pool: size 0 bytes"),
        (lambda: Exit("e", "o", 1.3, (Cut("i", 1),)), "exit e: accuracy 1.3"),
        (lambda: Exit("e", "o", math.nan, (Cut("i", 1),)), "exit e: accuracy nan"),
        (lambda: Exit("e", "o", 0.3, ()), "exit e: no cuts"),
        (lambda: Model("m", ()), "model m: no exits"),
        (lambda: Model("m", (EXIT, EXIT)), "two exits have the same name"),
        (lambda: Timing(-1.0, 1.0), "mean -1.0 s"),
        (lambda: Timing(1.0, math.inf), "p95 inf s"),
        (lambda: Slo(0.0), "latency 0.0 s"),
        (lambda: Slo(0.1, 100), "percentile 100 "),
        (lambda: Tables(routes=0), "tables: routes 0"),
        (lambda: Tables(low=2.0, high=1.0), "low 2.0 and high 1.0"),
        (lambda: Tables(safety=0.5), "safety 0.5"),
        (lambda: Tables(least_gain=math.nan), "least_gain nan"),
        (
            lambda: EntryProblem(MODEL, PROFILE, None, 0, Slo(1), codecs=(FP32, FP32)),
            "fp32, fp32",
        ),
        (lambda: choose(OPTIONS, math.nan, 1e6), "deadline nan s"),
        (lambda: OPTIONS.latency(0, math.nan), "bandwidth nan bit/s"),
        (
            lambda: ClassProfile("edge", {}, before={"full": (0.0, math.inf)}).means(EXIT),
            "1 cuts of exit full",
        ),
        (lambda: EntryProblem(MODEL, PROFILE, None, math.nan, Slo(1)), "rtt nan"),
        (
            lambda: EntryProblem(MODEL, PROFILE, None, 0, Slo(1), bandwidth=-1),
            "bandwidth -1 bit/s",
        ),
        (
            lambda: EntryProblem(MODEL, PROFILE, None, 0, Slo(1), min_accuracy=2),
            "min_accuracy 2",
        ),
        (
            lambda: candidates(EntryProblem(MODEL, PROFILE, None, 0, Slo(1))).latencies(-5.0),
            "bandwidth -5.0 bit/s",
        ),
    ],
)
def test_a_value_that_cannot_be_planned_with_is_named(make: Callable[[], object], words: str) -> None:
    with pytest.raises(BadValueError) as raised:
        make()
    assert words in str(raised.value)


def test_a_segment_that_is_not_measured_is_named_with_its_device_class_and_exit() -> None:
    problem = EntryProblem(MODEL, ClassProfile("edge", {}), None, 0, Slo(1))
    with pytest.raises(BadValueError, match=mentions("device class edge:", "image", "logits", "exit full")):
        candidates(problem)
