"""Finds objects that were deleted while the watch of their kind was interrupted.

Cost: one list of each kind, and one read of each object that the list lacks.
"""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Sequence

from edge_operator.cluster import Cluster, Kind, Object
from edge_operator.observed.mirror import Mirror
from edge_operator.observed.mirrored_cluster import vanished
from edge_operator.observed.watched import WATCHED, watched_in
from edge_operator.steps import RUNNING


async def missed_deletions(
    server: Cluster, mirror: Mirror, watched: Sequence[str] | None
) -> AsyncIterator[tuple[Kind, Object]]:
    """Removes objects that do not exist from the mirror, and yields each with its kind.

    watched: the namespaces of namespaced objects; None: all. A kind that cannot be listed is logged.
    """
    for kind in WATCHED:
        find = functools.partial(vanished, server, mirror, kind, *watched_in(kind, watched))
        try:
            with RUNNING.step("resync", f"listing {kind.plural}"):
                gone = await asyncio.to_thread(find)
        except Exception:
            logging.getLogger(__name__).exception("listing %s failed", kind.plural)
            continue
        for body in gone:
            yield kind, body
