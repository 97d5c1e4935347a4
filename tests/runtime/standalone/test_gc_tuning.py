"""Pauses of the interpreter delay requests as little as possible."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest


def test_once_a_model_is_served_the_collector_passes_over_it_and_threads_take_short_turns(
    serve_with: Callable[..., Any], chain_model: bytes
) -> None:
    gc.unfreeze()
    gc.disable()
    sys.setswitchinterval(0.005)  # the interpreter's default; the fixture restores it
    try:
        serve_with(chain_model)
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000
        assert sys.getswitchinterval() == pytest.approx(0.0005)
    finally:
        gc.enable()
