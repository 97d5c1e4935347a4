"""Every way to answer that a problem allows, and what each costs; in arrays, one entry per candidate.

The latency of a candidate as a function of bandwidth is intercept + bits / bandwidth (Neurosurgeon, section
4.2; Edgent, section 3.2): the stages' compute, each with its percentile margin, waiting, the round trips and
fixed costs, and the transfer over the uplink, whose bandwidth varies. The hop to another edge node is taken
to be steady and part of the intercept. The reply (a vector of scores) is small and counted in the round trip.
The percentiles of the stages are added, which is on the safe side: all being slow at once is rarer.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from edge_planning.errors import require
from edge_planning.graphs.models import Exit
from edge_planning.plans import route_name
from edge_planning.problems import Codec, Helper

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
LOCAL = -1
NONE = -1


@dataclass(frozen=True, slots=True)
class Latency:
    """A candidate's latency at one bandwidth, in seconds, by part; margin is what the percentile adds.

    transfer: over the uplink. middle: compute at the helper. hop: the transfer to it. queue: waiting.
    """

    head: float
    transfer: float
    tail: float
    fixed: float
    margin: float
    middle: float = 0.0
    hop: float = 0.0
    queue: float = 0.0

    @property
    def compute(self) -> float:
        """Of all stages, without margin."""
        return self.head + self.middle + self.tail

    @property
    def total(self) -> float:
        return self.compute + self.transfer + self.hop + self.fixed + self.queue + self.margin


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """exit: index in the model's exits. cut: where the entry node hands on, an index in the exit's cuts, or
    LOCAL. helper: index of the edge node that takes over, or NONE: Triton does. second: index of the cut at
    which the helper hands on to Triton, or NONE. first_codec, codec: indices of the codecs of the hop to the
    helper and of the uplink, 0 where there is none.

    Seconds: head, middle, tail (mean compute at the entry node, the helper, Triton), fixed, hop (to the
    helper), queue, margin. bits: over the uplink. joules: of the entry node whatever the bandwidth is, and
    joules_per_second of transfer. threshold: of confidence; NaN: every input goes all the way, else some
    leave early: head, tail and bits are those that the percentile needs, and mean_head, mean_tail and
    mean_bits those of the mean input. memory: bytes needed at the entry node.
    """

    exits: tuple[Exit, ...]
    codecs: tuple[Codec, ...]
    helpers: tuple[Helper, ...]
    exit: Integers
    cut: Integers
    helper: Integers
    second: Integers
    first_codec: Integers
    codec: Integers
    accuracy: Floats
    head: Floats
    middle: Floats
    tail: Floats
    fixed: Floats
    hop: Floats
    queue: Floats
    margin: Floats
    bits: Floats
    joules: Floats
    joules_per_second: Floats
    mean_head: Floats
    mean_tail: Floats
    mean_bits: Floats
    threshold: Floats
    memory: Floats

    def __len__(self) -> int:
        return len(self.exit)

    @property
    def intercept(self) -> Floats:
        """Seconds that do not depend on the bandwidth."""
        return self.head + self.middle + self.tail + self.fixed + self.hop + self.queue + self.margin

    @property
    def local(self) -> Mask:
        """Which candidates need the entry node alone."""
        return np.equal(self.cut, LOCAL)

    def latencies(self, bandwidth: float) -> Floats:
        """Seconds of each candidate at a bandwidth in bit/s; infinite beyond a link without any."""
        return self.intercept + self.transfers(bandwidth)

    def transfers(self, bandwidth: float) -> Floats:
        """Seconds on the uplink at a bandwidth in bit/s."""
        return _transfers(self.bits, bandwidth)

    def energies(self, bandwidth: float) -> Floats:
        """Mean joules of the entry node at a bandwidth in bit/s; see costs.energy for the model."""
        transfers = _transfers(self.mean_bits, bandwidth)
        with np.errstate(invalid="ignore"):
            sending = np.where(np.isinf(transfers), np.inf, self.joules_per_second * transfers)
        energies: Floats = self.joules + sending
        return energies

    def bottlenecks(self, bandwidth: float) -> Floats:
        """Seconds of the slowest stage or hop at a bandwidth: 1 / throughput of the pipeline (DADS)."""
        busy = np.maximum(np.maximum(self.mean_head, self.middle), np.maximum(self.mean_tail, self.hop))
        bottlenecks: Floats = np.maximum(busy, _transfers(self.mean_bits, bandwidth))
        return bottlenecks

    def thresholds(self, deadline: float) -> Floats:
        """Bandwidth in bit/s from which each candidate keeps the deadline; 0: always, infinite: never."""
        slack = deadline - self.intercept
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(
                slack > 0, self.bits / slack, np.where((slack == 0) & (self.bits == 0), 0.0, np.inf)
            )

    def latency(self, index: int, bandwidth: float) -> Latency:
        """The parts of one candidate's latency."""
        require(bandwidth >= 0, f"bandwidth {bandwidth} bit/s is negative or not a number")
        bits = float(self.bits[index])
        transfer = 0.0 if bits == 0 else bits / bandwidth if bandwidth > 0 else float("inf")
        return Latency(
            head=float(self.head[index]),
            transfer=transfer,
            tail=float(self.tail[index]),
            fixed=float(self.fixed[index]),
            margin=float(self.margin[index]),
            middle=float(self.middle[index]),
            hop=float(self.hop[index]),
            queue=float(self.queue[index]),
        )

    def name(self, index: int) -> str:
        """`exit@tensor`, or `exit@local`, and more as plans.route_name says."""
        exit_ = self.exits[int(self.exit[index])]
        threshold = float(self.threshold[index])
        return route_name(
            exit_.name,
            self.tensor(index),
            self.codec_name(index),
            self.helper_name(index),
            self.second_tensor(index),
            None if threshold != threshold else threshold,
        )

    def tensor(self, index: int) -> str | None:
        """The name of the cut at which the entry node hands on; None for a local candidate."""
        return self._cut(index, int(self.cut[index]))

    def second_tensor(self, index: int) -> str | None:
        """The name of the cut at which the helper hands on to Triton; None where it does not."""
        return self._cut(index, int(self.second[index]))

    def helper_name(self, index: int) -> str | None:
        """The edge node that takes over from the entry node; None where none does."""
        helper = int(self.helper[index])
        return None if helper == NONE else self.helpers[helper].name

    def codec_name(self, index: int) -> str:
        """The codec of the hops; two where they differ."""
        last = self.codecs[int(self.codec[index])].name
        if self.helper[index] == NONE:
            return last
        first = self.codecs[int(self.first_codec[index])].name
        return first if self.second[index] == NONE or first == last else f"{first},{last}"

    def select(self, keep: Mask | Integers) -> "Candidates":
        """The candidates that a mask or indices choose."""
        columns = {name: getattr(self, name)[keep] for name in COLUMNS}
        return Candidates(self.exits, self.codecs, self.helpers, **columns)

    def _cut(self, index: int, cut: int) -> str | None:
        return None if cut == LOCAL else self.exits[int(self.exit[index])].cuts[cut].name


COLUMNS = tuple(field.name for field in fields(Candidates))[3:]


def _transfers(bits: Floats, bandwidth: float) -> Floats:
    require(bandwidth >= 0, f"bandwidth {bandwidth} bit/s is negative or not a number")
    return bits / bandwidth if bandwidth > 0 else np.where(bits == 0, 0.0, np.inf)
