"""Powers of device classes and radios."""

from dataclasses import replace

import pytest

from edge_planning import BadValueError
from edge_planning.costs.classes import RASPBERRY_PI_3
from edge_planning.costs.energy import Radio


def test_a_bad_power_is_named() -> None:
    with pytest.raises(BadValueError, match=r"active_power -2\.0"):
        replace(RASPBERRY_PI_3, active_power=-2.0)
    with pytest.raises(BadValueError, match="radio lora: base nan"):
        Radio("lora", 1.0, float("nan"), "a test")
