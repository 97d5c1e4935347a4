"""The results of planning: a plan with its reasons, or the reasons why there is none."""

from dataclasses import dataclass

from edge_planning.problems import FP32


def route_name(
    exit_: str,
    cut: str | None,
    codec: str,
    intermediate: str | None,
    second_cut: str | None,
    threshold: float | None,
) -> str:
    """Returns e.g. `exit@pool`, `exit@local`, `exit@pool:int8`, `exit@pool>node-b@conv4`, `exit?0.9@pool`."""
    early = "" if threshold is None else f"?{threshold:g}"
    beyond = f">{intermediate}" if intermediate is not None else ""
    beyond += f"@{second_cut}" if second_cut is not None else ""
    return f"{exit_}{early}@{cut or 'local'}{beyond}" + ("" if codec == FP32.name else f":{codec}")


@dataclass(frozen=True, slots=True)
class Route:
    """An exit, its cuts and places, and the bandwidth from which the route applies.

    Attributes:
        cut: Names of the tensors that leave the entry node; None for a local route.
        min_bandwidth: Bandwidth in bit/s from which the route is used, safety factor included.
        met_from: Bandwidth in bit/s from which the model predicts that it meets the SLO; 0: always, None:
            never within the range.
        latency: Seconds, margin included, at min_bandwidth. For a route with min_bandwidth 0: at met_from
            times the safety factor, or at the top of the range if met_from is None.
        head, tail: Mean compute time in seconds, without margin, at the entry node and at Triton; None if no
            stage runs there.
        bits: Sent over the link.
        codec: Of the hops: `int8`, or `int8,fp16` if they differ.
        intermediate: The intermediate node that runs a stage, if any.
        intermediate_compute: Mean compute time in seconds at the intermediate node.
        second_cut: The cut at which the intermediate node sends to Triton; None if it computes the exit.
        threshold: Confidence at which the response of an early exit is used; None if this exit always
            responds.
        worth: Value of a response in time to the objective, above 0 and at most 1; None: the accuracy.
        cost: Mean price of a request at the bandwidth of `latency`; None if nothing has a price.
        packed, intermediate_packed: Whether the entry node and the intermediate node pack the weights; None
            if no stage runs there, or if there is no choice.
        energy: Mean joules of a request at the entry node, at that bandwidth; None if its power is unknown.
    """

    exit: str
    cut: str | None
    accuracy: float
    min_bandwidth: int
    met_from: float | None
    latency: float
    head: float | None
    tail: float | None
    bits: int
    codec: str = FP32.name
    intermediate: str | None = None
    second_cut: str | None = None
    intermediate_compute: float | None = None
    threshold: float | None = None
    worth: float | None = None
    cost: float | None = None
    packed: bool | None = None
    intermediate_packed: bool | None = None
    energy: float | None = None

    @property
    def name(self) -> str:
        """`exit@cut` or `exit@local`, with codec, intermediate node and threshold if any; see route_name."""
        return route_name(self.exit, self.cut, self.codec, self.intermediate, self.second_cut, self.threshold)


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Routes, highest min_bandwidth first; the last is local if the mode allows it.

    Attributes:
        accuracy: Expected accuracy of responses in time (0 for late ones) over the range of bandwidths.
        loss: Expected accuracy that a table of unlimited size would add.
    """

    routes: tuple[Route, ...]
    accuracy: float
    loss: float

    def at(self, bandwidth: float) -> Route:
        """Returns the route that is used at a bandwidth in bit/s."""
        return next((r for r in self.routes if r.min_bandwidth <= bandwidth), self.routes[-1])


@dataclass(frozen=True, slots=True)
class Rejection:
    """A candidate that is not in the table, and why. met_from as in Route."""

    name: str
    exit: str
    cut: str | None
    accuracy: float
    met_from: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A route table with its reasons.

    Attributes:
        met: Whether the SLO is met at some bandwidth of the range.
        met_from: Bandwidth in bit/s from which it is met.
        reasons: Messages about what limits the plan.
        nearest_slo: Shortest latency in seconds of any allowed candidate in the range of bandwidths; infinite
            if none keeps up with the requests.
    """

    table: RouteTable
    met: bool
    met_from: float | None
    nearest_slo: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Infeasible:
    """No allowed candidate meets the requirements. nearest_slo as in Plan; None if there is no candidate."""

    reasons: tuple[str, ...]
    nearest_slo: float | None
