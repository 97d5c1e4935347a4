"""Takes a sample of every Placement each minute."""

import threading
import time

from edge_console.recent import EVERY, Samples
from edge_operator.cluster import PLACEMENTS
from edge_operator.explaining.overlays import Reads

_FIRST = 5.0
"""Seconds until the first samples, so that the mirror has objects."""


def sample_every_minute(reads: Reads, samples: Samples) -> None:
    """Starts a thread that ends with the process."""

    def run() -> None:
        time.sleep(_FIRST)
        while True:
            for placement in reads.find(PLACEMENTS):
                samples.take(placement, time.time())
            time.sleep(EVERY)

    threading.Thread(target=run, name="samples", daemon=True).start()
