"""Locales that models ask for: onnxruntime's text operators take en_US.UTF-8 where a model names none."""

from __future__ import annotations

import re
from typing import Final

# What the C++ library says of a locale that the machine does not have.
_LACKING: Final = re.compile(r"Failed to construct locale with name:([^:\s]{1,60})")
_NAME: Final = re.compile(r"([a-z]{2,3}_[A-Z]{2})\.([Uu][Tt][Ff]-?8)")


def lacking(said: str) -> str:
    """What to install, where `said` is onnxruntime's complaint about a locale; empty where it is not."""
    found = _LACKING.search(said)
    if found is None:
        return ""
    locale = found[1]
    parts = _NAME.fullmatch(locale)
    how = f" (Debian: apt-get install locales && localedef -i {parts[1]} -f UTF-8 {locale})" if parts else ""
    return f'its text operators need the locale "{locale}", which this machine lacks: install it{how}'
