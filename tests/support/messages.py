"""The parts that a message must contain, in any order: fields, values, numbers and names."""

from __future__ import annotations

import re


def mentions(*parts: object) -> re.Pattern[str]:
    """A pattern that finds every part whole: `1` is neither in `10`, `1.5`, `-1` nor in `x-1`.

    For `pytest.raises(..., match=mentions(...))` and `assert mentions(...).search(text)`.
    """
    return re.compile(r"(?s)\A" + "".join(rf"(?=.*{_whole(str(part))})" for part in parts))


def _whole(part: str) -> str:
    before = r"(?<![\w-])(?<!\w\.)" if part[:1].isalnum() else ""
    after = r"(?![.-]?\w)" if part[-1:].isalnum() else ""
    return before + re.escape(part) + after
