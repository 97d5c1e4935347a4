"""The codecs of a hop. A codec is added here; no other module names one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from edge_api.placements import UNENCODED
from edge_runtime.codecs.affine import PerChannel, PerItem
from edge_runtime.codecs.definitions import Codec
from edge_runtime.codecs.half import Half


def by_name(*codecs: Codec) -> Mapping[str, Codec]:
    """Returns codecs by name; ValueError for a name that routes and tensors cannot contain."""
    for codec in codecs:
        if not re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", codec.name) or codec.name == UNENCODED:
            raise ValueError(f'codec: "{codec.name}" is not a name: use lower-case letters, digits, hyphens')
    return MappingProxyType({codec.name: codec for codec in codecs})


CODECS = by_name(Half(), PerItem(), PerChannel())
"""By name, without the one that changes nothing (`edge_api.placements.UNENCODED`)."""
