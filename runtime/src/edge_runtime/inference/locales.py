"""Locales that models need: onnxruntime's text operators use en_US.UTF-8 if a model names none."""

from __future__ import annotations

import re
from typing import Final

# The error of the C++ library for a locale that the machine lacks.
_LACKING: Final = re.compile(r"Failed to construct locale with name:([^:\s]{1,60})")
_NAME: Final = re.compile(r"([a-z]{2,3}_[A-Z]{2})\.([Uu][Tt][Ff]-?8)")


def lacking(said: str) -> str:
    """The fix if `said` is onnxruntime's error about a missing locale; empty for other errors."""
    found = _LACKING.search(said)
    if found is None:
        return ""
    locale = found[1]
    parts = _NAME.fullmatch(locale)
    how = f" (Debian: apt-get install locales && localedef -i {parts[1]} -f UTF-8 {locale})" if parts else ""
    return f'its text operators need the locale "{locale}", which this machine lacks: install it{how}'
