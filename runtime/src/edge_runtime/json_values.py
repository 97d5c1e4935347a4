"""The type of JSON values."""

from typing import Any

Json = Any  # unchecked until a reader has looked at it
