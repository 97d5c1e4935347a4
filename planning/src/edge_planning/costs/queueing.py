"""Waiting times at shared nodes, uplinks and Triton servers.

The model is a G/G/m queue, first come first served, with the Allen-Cunneen approximation of its mean wait
(Allen: Probability, Statistics, and Queueing Theory, 1990; also Bolch et al.: Queueing Networks and Markov
Chains, 2006, section 6.3.6):

    wait = C(m, load) * service / (m * (1 - utilization)) * (arrival_scv + service_scv) / 2

C is the Erlang C formula, scv the squared coefficient of variation. The formula is exact for M/M/m. For one
server with Poisson arrivals it is the Pollaczek-Khinchine formula, exact for M/G/1 and so for M/D/1.

- a node that runs one inference at a time: one server, `service_scv` as measured;
- an uplink: one server whose service is bits / bandwidth, deterministic for one kind of request;
- a Triton server: as many servers as it has instances of the model.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from edge_planning.errors import BadValueError, require

OVERLOADED = 3600.0
"""Seconds of wait that stand for a wait without limit, so that costs stay finite numbers."""

Floats = npt.NDArray[np.float64]
Numbers = float | Floats


def erlang_c(servers: int, load: Numbers) -> Floats:
    """Returns the probability that a request has to wait in M/M/m; 1 at full load or more.

    `load` is arrival rate times mean service time (in Erlang). Uses the recursion of the Erlang B formula.
    """
    require(servers >= 1, f"queue: {servers} servers are too few")
    offered = np.asarray(load, dtype=np.float64)
    _check("load", offered)
    blocked = np.ones_like(offered)
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    busy = np.minimum(offered / servers, 1.0)
    return np.where(busy < 1, blocked / (1 - busy * (1 - blocked)), 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Queue:
    """A station and its arrivals; numbers, or arrays of one shape.

    Attributes:
        rate: Requests per second.
        service: Mean seconds of service.
        scv: Variance of the service time divided by its mean squared (0: constant, 1: exponential).
        arrival_scv: The same for the times between arrivals (1: Poisson).
    """

    rate: Numbers
    service: Numbers
    scv: Numbers = 1.0
    servers: int = 1
    arrival_scv: Numbers = 1.0

    def __post_init__(self) -> None:
        require(self.servers >= 1, f"queue: {self.servers} servers are too few")
        for name in ("rate", "service", "scv", "arrival_scv"):
            _check(name, getattr(self, name))

    @property
    def utilisation(self) -> Floats:
        """Offered load per server; at 1 or more the queue grows without limit."""
        used: Floats = np.asarray(self.rate, dtype=np.float64) * self.service / self.servers
        return used

    @property
    def waiting_probability(self) -> Floats:
        """Share of the requests that find all servers busy: Erlang C, which is exact for M/G/1 too."""
        return erlang_c(self.servers, self.utilisation * self.servers)

    @property
    def wait(self) -> Floats:
        """Mean seconds before service begins; infinite at a utilization of 1 or more."""
        return self._wait(self.waiting_probability)

    @property
    def sojourn(self) -> Floats:
        """Mean seconds from arrival to the end of service."""
        return self.wait + self.service

    def wait_quantile(self, percentile: float) -> Floats:
        """Returns the percentile of the waiting time in seconds.

        Assumes that the wait of requests that have to wait is exponentially distributed: exact for M/M/m.
        """
        late = _late(percentile)
        waiting = self.waiting_probability
        with np.errstate(divide="ignore", invalid="ignore"):
            quantile = np.where(waiting > late, self._wait(waiting) / waiting * np.log(waiting / late), 0.0)
        return np.where(self.utilisation < 1, quantile, np.inf)

    def sojourn_quantile(self, percentile: float) -> Floats:
        """Returns the percentile of the time from arrival to the end of service, in seconds.

        Assumes a gamma distribution with the sojourn's mean and variance (wait as in wait_quantile, service
        by its scv); its quantile follows Wilson and Hilferty (1931). Within 1 % for M/M/1. For upper
        percentiles only: for constant service the median is up to a third too long.
        """
        _late(percentile)
        mean, waiting, wait = self.sojourn, self.waiting_probability, self.wait
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = np.asarray(self.scv) * np.asarray(self.service) ** 2
            variance = variance + np.where(waiting > 0, 2 * wait**2 / waiting - wait**2, 0.0)
            shape = mean**2 / variance
            normal = NormalDist().inv_cdf(percentile / 100)
            quantile = mean * (1 - 1 / (9 * shape) + normal / (3 * np.sqrt(shape))) ** 3
        quantile = np.where(variance > 0, quantile, mean)
        return np.where(self.utilisation < 1, np.maximum(quantile, 0.0), np.inf)

    def _wait(self, waiting: Floats) -> Floats:
        free = 1 - self.utilisation
        with np.errstate(divide="ignore", invalid="ignore"):
            waits = waiting * self.service / (self.servers * free)
            waits = waits * (np.asarray(self.arrival_scv) + self.scv) / 2
        return np.where(free > 0, waits, np.inf)


def shared(rates: Floats, services: Floats, scvs: Numbers = 0.0, servers: int = 1) -> Queue:
    """Returns one queue for several services on the same station: the mixture of their Poisson streams.

    The last axis of the arrays has one entry per service. Without arrivals the queue is empty.
    """
    rates, services = np.asarray(rates, dtype=np.float64), np.asarray(services, dtype=np.float64)
    for name, values in (("rates", rates), ("services", services), ("scvs", np.asarray(scvs))):
        _check(name, values)
    total = rates.sum(axis=-1)
    share = rates / np.where(total > 0, total, 1.0)[..., None]
    mean = (share * services).sum(axis=-1)
    second = (share * services**2 * (1 + np.asarray(scvs))).sum(axis=-1)
    scv = np.where(mean > 0, second / np.where(mean > 0, mean, 1.0) ** 2 - 1, 0.0)
    return Queue(total, mean, np.maximum(scv, 0.0), servers)


def uplink(rates: Floats, sizes: Floats, bandwidth: float) -> Queue:
    """Returns the queue for a link of `bandwidth` bit/s: Poisson streams of requests of fixed sizes."""
    require(bandwidth > 0, f"queue: bandwidth {bandwidth} bit/s must be > 0")
    return shared(rates, np.asarray(sizes, dtype=np.float64) * 8 / bandwidth)


def _check(name: str, values: Numbers) -> None:
    """Raises BadValueError for a bad number. Formats arrays only then, which takes longer than a queue."""
    array = np.asarray(values)
    if not ((array >= 0) & (array < np.inf)).all():
        raise BadValueError(f"queue: {name} {values} must be finite and >= 0")


def _late(percentile: float) -> float:
    require(0 < percentile < 100, f"queue: percentile {percentile} is not between 0 and 100")
    return 1 - percentile / 100
