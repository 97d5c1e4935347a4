"""What the interpreter itself does that keeps requests waiting, made short."""

from __future__ import annotations

import gc
import sys
from typing import Final

_TURN: Final = 0.0005


def starting() -> None:
    """Called first: what is imported is no garbage, so looking for some is a tenth of the start."""
    gc.disable()


def short_pauses() -> None:
    """Called once what stays is loaded: the collector need not look at it again (tens of milliseconds), and a
    thread that prepares a table hands the interpreter over after 0.5 ms, not after 5.
    """
    sys.setswitchinterval(_TURN)
    gc.freeze()
    gc.enable()
