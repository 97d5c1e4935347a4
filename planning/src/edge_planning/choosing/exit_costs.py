"""The costs of one exit at each place, cumulated over its cuts, and rows of candidates computed from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_planning.choosing.candidates import LOCAL, NONE, Floats, Integers
from edge_planning.costs.profiles import ClassProfile
from edge_planning.costs.queueing import OVERLOADED, Queue, shared
from edge_planning.graphs.models import Exit
from edge_planning.problems import Codec, EntryProblem, Load
from edge_planning.responses import crossing

Rows = Mapping[str, npt.NDArray[Any]]
UPLINK_SHARE = 0.8
"""Part of the uplink's bandwidth that the requests may use, so that transfers hardly wait for each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """The costs of one exit with n cuts; all arrays [n + 1], the last entry is the output.

    Attributes:
        entry, intermediates: Seconds of the layers before a cut.
        remote: Seconds of the layers behind it.
        size: Bytes that cross there (0 at the output).
        memory: Bytes of the file that has the layers before it.
        variances: Squared coefficient of variation of the compute time at the entry node and the remote end.
        extras: Seconds that the margin adds per second at the entry node and at the remote end.
        intermediate_extras: The same at each intermediate node.
    """

    problem: EntryProblem
    number: int
    exit: Exit
    entry: Floats
    remote: Floats
    intermediates: tuple[Floats, ...]
    size: Floats
    memory: Floats
    extras: tuple[float, float]
    intermediate_extras: tuple[float, ...]
    variances: tuple[float, float]

    @property
    def end(self) -> int:
        """The index of the output."""
        return len(self.exit.cuts)


def work_of(problem: EntryProblem, number: int) -> Work:
    """Returns the work of an exit; raises BadValueError for a segment that is not measured on a class."""
    exit_ = problem.model.exits[number]
    percentile = problem.slo.percentile
    entry = before(problem.entry, exit_) * problem.load.scale
    nothing = np.zeros_like(entry)
    if problem.remote is not None:
        means = problem.remote.means(exit_)
        remote = np.append(np.cumsum(means[::-1])[::-1] * problem.remote_load.scale, 0.0)
    return Work(
        problem=problem,
        number=number,
        exit=exit_,
        entry=entry,
        remote=remote if problem.remote is not None else nothing,
        intermediates=tuple(before(h.profile, exit_) * h.load.scale for h in problem.intermediates),
        size=np.array([*(cut.size for cut in exit_.cuts), 0.0], dtype=np.float64),
        memory=np.cumsum([0.0, *(problem.model.memory.get(pair, 0.0) for pair in exit_.segments())]),
        extras=(
            problem.entry.margin(exit_, percentile) - 1,
            problem.remote.margin(exit_, percentile) - 1 if problem.remote is not None else 0.0,
        ),
        intermediate_extras=tuple(h.profile.margin(exit_, percentile) - 1 for h in problem.intermediates),
        variances=(variance_of(problem.entry, exit_), variance_of(problem.remote or problem.entry, exit_)),
    )


def before(profile: ClassProfile, exit_: Exit) -> Floats:
    """Returns the mean seconds before each cut and, last, of the exit in one piece."""
    means: Floats = np.concatenate(([0.0], np.cumsum(profile.means(exit_))))
    means[-1] = profile.whole(exit_)
    return means


def rows(
    work: Work,
    cut: Integers,
    intermediate: int = NONE,
    second: Integers | None = None,
    first: int = 0,
    codec: int = 0,
) -> dict[str, npt.NDArray[Any]]:
    """Returns columns of candidates cut at `cut` (LOCAL: none) and, after an intermediate node, `second`."""
    problem, end = work.problem, work.end
    at = np.where(cut == LOCAL, end, cut)
    second = np.full(len(cut), NONE) if second is None else second
    last = at if intermediate == NONE else np.where(second == NONE, end, second)
    remote = last < end
    head, tail = work.entry[at], work.remote[last]
    sender, receiver = problem.codecs[first], problem.codecs[codec]
    response = crossing(work.exit.response)
    forth, back = sent_bytes(receiver, work)[last] * 8.0, response * 8.0
    bits = forth + remote * back
    fixed = problem.local_overhead + remote * (problem.hop_overhead + problem.rtt)
    fixed = fixed + work.size[last] * (receiver.encode + receiver.decode)
    fixed = fixed + remote * receiving_time(problem.remote, forth, np.zeros(len(cut)), response)
    percentile = problem.slo.percentile
    first_hop = forth if intermediate == NONE else sent_bytes(sender, work)[at] * 8.0
    sent = bits if intermediate == NONE else first_hop + back
    receiving = receiving_time(problem.entry, np.full(len(cut), work.size[0] * 8.0), first_hop, response)
    fixed = fixed + receiving
    queue = waits(problem.load, occupied(head, receiving), work.variances[0], percentile)
    queue = queue + waits(problem.remote_load, tail, work.variances[1], percentile)
    margin = head * work.extras[0] + tail * work.extras[1]
    loss = _loss_of(receiver, work.exit)[last]
    radio = problem.radio
    joules = head * problem.active_power
    intermediate_compute, hop, receiving_near = (np.zeros(len(cut)) for _ in range(3))
    if intermediate != NONE:
        place, seconds = problem.intermediates[intermediate], work.intermediates[intermediate]
        intermediate_compute = seconds[last] - seconds[at]
        hop = sent / place.bandwidth
        fixed = fixed + problem.hop_overhead + place.rtt + work.size[at] * (sender.encode + sender.decode)
        variance = variance_of(place.profile, work.exit)
        receiving_near = receiving_time(place.profile, first_hop, forth, response)
        fixed = fixed + receiving_near
        busy = occupied(intermediate_compute, receiving_near)
        queue = queue + waits(place.load, busy, variance, percentile)
        queue = queue + waits(Load(rate=problem.load.rate), hop, 0.0, percentile)
        margin = margin + intermediate_compute * work.intermediate_extras[intermediate]
        loss = loss + _loss_of(sender, work.exit)[at]
    joules_per_second = np.zeros(len(cut))
    if radio is not None:
        joules = joules + sent * radio.watts_per_bit + hop * radio.base
        joules_per_second = np.full(len(cut), radio.base if intermediate == NONE else 0.0)

    def whole(number: int) -> Integers:
        return np.full(len(cut), number, dtype=np.int64)

    return {
        "exit": whole(work.number),
        "cut": cut,
        "intermediate": whole(intermediate),
        "second": second,
        "first_codec": whole(first),
        "codec": whole(codec),
        "accuracy": _accuracy_after(work.exit.accuracy, loss),
        "head": head,
        "intermediate_compute": intermediate_compute,
        "tail": tail,
        "fixed": fixed,
        "hop": hop,
        "queue": queue,
        "margin": margin,
        "bits": bits,
        "least_bandwidth": least_bandwidth(problem, bits),
        "joules": joules,
        "joules_per_second": joules_per_second,
        "mean_head": head,
        "threshold": np.full(len(cut), np.nan),
        "memory": work.memory[at] * problem.entry.memory,
        "receiving": receiving,
        "receiving_near": receiving_near,
    }


def sent_bytes(codec: Codec, work: Work) -> Floats:
    """Returns the bytes that a codec sends at each cut of an exit, and 0 at the output."""
    sizes: Floats = work.size * codec.ratio
    if codec.sizes is not None:
        found = (codec.sizes.get((work.exit.name, cut.name)) for cut in work.exit.cuts)
        for n, size in enumerate(found):
            if size is not None:
                sizes[n] = size
    return sizes


def receiving_time(
    profile: ClassProfile | None, received: Floats, sent: Floats, response: float = 0.0
) -> Floats:
    """Returns the seconds outside of inference of requests with so many bits received and sent on.

    0 where they are not measured, and without a profile. response: bytes.
    """
    known = profile.requests if profile is not None else None
    return np.zeros(len(sent)) if known is None else known.of(received / 8, sent / 8, response)


def occupied(seconds: Floats, receiving: Floats) -> Floats:
    """Returns the seconds for which a run keeps a node from other runs; 0 where nothing runs."""
    found: Floats = np.where(seconds > 0, seconds + receiving, 0.0)
    return found


def waits(load: Load, seconds: Floats, variance: float | Floats, percentile: float) -> Floats:
    """Returns the wait before service times of `seconds` at a place, at the percentile.

    variance: Squared coefficient of variation of the service time, one for all or for each.
    """
    found: Floats = np.where(seconds > 0, load.wait, 0.0)
    if load.others is not None:
        other = load.others
        queue = shared(
            np.array([load.rate, other.rate]),
            np.stack([seconds, np.full_like(seconds, other.seconds)], axis=-1),
            np.stack(np.broadcast_arrays(variance, np.full_like(seconds, other.variance)), axis=-1),
            load.servers,
        )
        queued = np.where(seconds > 0, queue.wait_quantile(percentile), 0.0)
        found = found + np.minimum(queued, OVERLOADED)
    elif load.rate:
        queued = Queue(load.rate, seconds, variance, load.servers).wait_quantile(percentile)
        found = found + np.minimum(queued, OVERLOADED)
    return found


def least_bandwidth(problem: EntryProblem, bits: Floats) -> Floats:
    """Returns the bandwidth in bit/s at which these and the others' bits use UPLINK_SHARE of the uplink."""
    least: Floats = problem.load.rate * bits / UPLINK_SHARE
    if problem.uplink_used:
        least = np.where(bits > 0, least + problem.uplink_used / UPLINK_SHARE, 0.0)
    return least


def variance_of(profile: ClassProfile, exit_: Exit) -> float:
    """Returns the squared coefficient of variation of a normal distribution with this 95th percentile."""
    deviation = (profile.margin(exit_, 95) - 1) / NormalDist().inv_cdf(0.95)
    return deviation * deviation


def _loss_of(codec: Codec, exit_: Exit) -> Floats:
    """Returns the accuracy that an exit loses by a codec at each of its cuts, and 0 at the output.

    It is infinite where the codec cannot be used.
    """
    if codec.at is not None:
        losses = [codec.at.get((exit_.name, cut.name), np.inf) for cut in exit_.cuts]
    else:
        losses = [0.0 if codec.losses is None else codec.losses[exit_.name]] * len(exit_.cuts)
    return np.array([*losses, 0.0])


def _accuracy_after(accuracy: Floats | float, loss: Floats) -> Floats:
    """Returns the accuracy minus the loss; below any valid accuracy if the loss is infinite."""
    left: Floats = np.where(np.isinf(loss), -np.inf, np.maximum(accuracy - loss, 0.0))
    return left


def usable_codecs(work: Work) -> list[int]:
    """Returns the codecs whose loss at the exit is known."""
    codecs = enumerate(work.problem.codecs)
    return [n for n, codec in codecs if _usable(codec, work.exit.name)]


def _usable(codec: Codec, exit_: str) -> bool:
    if codec.at is not None:
        return any(name == exit_ for name, _ in codec.at)
    return codec.losses is None or exit_ in codec.losses
