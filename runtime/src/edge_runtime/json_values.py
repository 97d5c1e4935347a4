"""The type of JSON values."""

from typing import Any

Json = Any  # unchecked until it is validated
