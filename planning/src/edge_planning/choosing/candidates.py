"""The candidates of a problem and their costs, as arrays with one entry per candidate.

The latency of a candidate as a function of bandwidth is intercept + bits / bandwidth (Neurosurgeon, section
4.2; Edgent, section 3.2). It includes the compute time of the stages, each with its percentile margin,
waiting, round trips, the time of requests outside of inference, and the transfer over the uplink, whose
bandwidth varies. The hop to an
intermediate node has constant bandwidth and is part of the intercept. Waiting is that of costs.queueing at
the rate of requests; on the uplink it is not modeled, but the uplink must have a part of its bandwidth left.
A response returns by the same hops at the same bandwidth; a small one is counted in the round trip. The
percentiles of the stages are added, which is conservative: it is less likely that all stages are slow at the
same time.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from edge_planning.costs.queueing import OVERLOADED
from edge_planning.errors import require
from edge_planning.graphs.models import Exit
from edge_planning.plans import route_name
from edge_planning.problems import FREE, Codec, IntermediateNode, Prices

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
LOCAL = -1
NONE = -1


@dataclass(frozen=True, slots=True)
class Latency:
    """A candidate's latency at one bandwidth, in seconds, by part.

    Attributes:
        transfer: Over the uplink.
        margin: Added for the percentile.
        intermediate_compute: Compute at the intermediate node.
        hop: Transfer to the intermediate node.
        queue: Waiting.
    """

    head: float
    transfer: float
    tail: float
    fixed: float
    margin: float
    intermediate_compute: float = 0.0
    hop: float = 0.0
    queue: float = 0.0

    @property
    def compute(self) -> float:
        """Compute time of all stages, without margin."""
        return self.head + self.intermediate_compute + self.tail

    @property
    def total(self) -> float:
        return self.compute + self.transfer + self.hop + self.fixed + self.queue + self.margin


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Candidates as columns; times in seconds.

    Attributes:
        exit: Index in the model's exits.
        cut: Index in the exit's cuts at which the entry node stops, or LOCAL.
        intermediate: Index of the intermediate node that continues, or NONE if Triton does.
        second: Index of the cut at which the intermediate node sends to Triton, or NONE.
        first_codec, codec: Indices of the codecs of the hop to the intermediate node and of the uplink; 0 if
            there is no such hop.
        head, tail: Mean compute time at the entry node and Triton.
        intermediate_compute: Mean compute time at the intermediate node.
        hop: Transfer to the intermediate node.
        bits: Sent over the uplink, with those of the response unless it is small.
        least_bandwidth: Bandwidth in bit/s below which the uplink cannot carry the requests.
        joules: Of the entry node, independent of the bandwidth.
        joules_per_second: Of the entry node, per second of transfer.
        threshold: Of confidence; NaN if every input runs the full path. Otherwise some inputs leave early:
            head is that of the percentile, mean_head the mean.
        memory: Bytes needed at the entry node.
        receiving, receiving_near: Seconds of the entry node's and the intermediate node's processors for
            requests outside of inference: others wait for them, and they are part of `fixed`.
        worth: Value of a response in time to the problem's objective, above 0 and at most 1.
        prices: What `costs` are made of.
    """

    exits: tuple[Exit, ...]
    codecs: tuple[Codec, ...]
    intermediates: tuple[IntermediateNode, ...]
    exit: Integers
    cut: Integers
    intermediate: Integers
    second: Integers
    first_codec: Integers
    codec: Integers
    accuracy: Floats
    head: Floats
    intermediate_compute: Floats
    tail: Floats
    fixed: Floats
    hop: Floats
    queue: Floats
    margin: Floats
    bits: Floats
    least_bandwidth: Floats
    joules: Floats
    joules_per_second: Floats
    mean_head: Floats
    threshold: Floats
    memory: Floats
    receiving: Floats
    receiving_near: Floats
    worth: Floats
    prices: Prices = FREE

    def __len__(self) -> int:
        return len(self.exit)

    @property
    def intercept(self) -> Floats:
        """Latency that does not depend on the bandwidth, in seconds."""
        return (
            self.head
            + self.intermediate_compute
            + self.tail
            + self.fixed
            + self.hop
            + self.queue
            + self.margin
        )

    @property
    def local(self) -> Mask:
        """Mask of the candidates that need only the entry node."""
        return np.equal(self.cut, LOCAL)

    def latencies(self, bandwidth: float) -> Floats:
        """Returns the latencies in seconds at a bandwidth in bit/s.

        They are infinite across a link with 0 bit/s, and include OVERLOADED where the uplink cannot carry the
        requests.
        """
        return self.intercept + self.transfers(bandwidth) + OVERLOADED * (bandwidth < self.least_bandwidth)

    def transfers(self, bandwidth: float) -> Floats:
        """Returns the seconds on the uplink at a bandwidth in bit/s."""
        return _transfers(self.bits, bandwidth)

    def energies(self, bandwidth: float) -> Floats:
        """Returns the mean joules of the entry node at a bandwidth in bit/s (model: costs.energy)."""
        transfers = _transfers(self.bits, bandwidth)
        with np.errstate(invalid="ignore"):
            sending = np.where(np.isinf(transfers), np.inf, self.joules_per_second * transfers)
        energies: Floats = self.joules + sending
        return energies

    def costs(self, bandwidth: float) -> Floats:
        """Returns the mean price of a request at a bandwidth in bit/s, in the currency of the prices."""
        prices = self.prices
        costs: Floats = self.tail * prices.triton_second
        costs = costs + self.bits * (prices.uplink_gigabyte / 8e9)
        return costs + self.energies(bandwidth) * prices.joule if prices.joule else costs

    def bottlenecks(self, bandwidth: float) -> Floats:
        """Returns the seconds of the slowest stage or hop at a bandwidth: 1 / throughput (DADS)."""
        busy = np.maximum(
            np.maximum(self.mean_head, self.intermediate_compute), np.maximum(self.tail, self.hop)
        )
        bottlenecks: Floats = np.maximum(busy, _transfers(self.bits, bandwidth))
        return bottlenecks

    def thresholds(self, deadline: float) -> Floats:
        """Returns the minimum bandwidth in bit/s at which each candidate meets the deadline.

        It is 0 if the candidate always does, inf if it never does.
        """
        slack = deadline - self.intercept
        with np.errstate(divide="ignore", invalid="ignore"):
            needed = np.where(
                slack > 0, self.bits / slack, np.where((slack == 0) & (self.bits == 0), 0.0, np.inf)
            )
        return np.maximum(needed, self.least_bandwidth)

    def latency(self, index: int, bandwidth: float) -> Latency:
        """Returns the parts of one candidate's latency."""
        require(bandwidth >= 0, f"bandwidth {bandwidth} bit/s must be >= 0")
        bits = float(self.bits[index])
        transfer = 0.0 if bits == 0 else bits / bandwidth if bandwidth > 0 else float("inf")
        crowded = OVERLOADED * bool(bandwidth < self.least_bandwidth[index])
        return Latency(
            head=float(self.head[index]),
            transfer=transfer,
            tail=float(self.tail[index]),
            fixed=float(self.fixed[index]),
            margin=float(self.margin[index]),
            intermediate_compute=float(self.intermediate_compute[index]),
            hop=float(self.hop[index]),
            queue=float(self.queue[index]) + crowded,
        )

    def name(self, index: int) -> str:
        """Returns the name: `exit@tensor` or `exit@local`, and more as in plans.route_name."""
        exit_ = self.exits[int(self.exit[index])]
        threshold = float(self.threshold[index])
        return route_name(
            exit_.name,
            self.tensor(index),
            self.codec_name(index),
            self.intermediate_name(index),
            self.second_tensor(index),
            None if threshold != threshold else threshold,
        )

    def tensor(self, index: int) -> str | None:
        """Returns the name of the cut at which the entry node stops; None for a local candidate."""
        return self._cut(index, int(self.cut[index]))

    def second_tensor(self, index: int) -> str | None:
        """Returns the name of the cut at which the intermediate node sends to Triton, or None."""
        return self._cut(index, int(self.second[index]))

    def intermediate_name(self, index: int) -> str | None:
        """Returns the name of the intermediate node, or None."""
        intermediate = int(self.intermediate[index])
        return None if intermediate == NONE else self.intermediates[intermediate].name

    def codec_name(self, index: int) -> str:
        """Returns the codec of the hops; two names if they differ."""
        last = self.codecs[int(self.codec[index])].name
        if self.intermediate[index] == NONE:
            return last
        first = self.codecs[int(self.first_codec[index])].name
        return first if self.second[index] == NONE or first == last else f"{first},{last}"

    def select(self, keep: Mask | Integers) -> "Candidates":
        """Returns the candidates selected by a mask or indices."""
        columns = {name: getattr(self, name)[keep] for name in COLUMNS}
        return Candidates(self.exits, self.codecs, self.intermediates, **columns, prices=self.prices)

    def _cut(self, index: int, cut: int) -> str | None:
        return None if cut == LOCAL else self.exits[int(self.exit[index])].cuts[cut].name


COLUMNS = tuple(field.name for field in fields(Candidates))[3:-1]


def _transfers(bits: Floats, bandwidth: float) -> Floats:
    require(bandwidth >= 0, f"bandwidth {bandwidth} bit/s must be >= 0")
    return bits / bandwidth if bandwidth > 0 else np.where(bits == 0, 0.0, np.inf)
