"""JSON as it came: unchecked until a reader has looked at it."""

from typing import Any

Json = Any
