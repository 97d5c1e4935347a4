"""What planning answers: a plan with its reasons, or the reasons why there is none."""

from dataclasses import dataclass


def route_name(
    exit_: str,
    cut: str | None,
    codec: str,
    helper: str | None,
    second_cut: str | None,
    threshold: float | None,
) -> str:
    """E.g. `exit@pool`, `exit@local`, `exit@pool:int8`, `exit@pool>helper@conv4`, `exit?0.9@pool`."""
    early = "" if threshold is None else f"?{threshold:g}"
    way = f">{helper}" if helper is not None else ""
    way += f"@{second_cut}" if second_cut is not None else ""
    return f"{exit_}{early}@{cut or 'local'}{way}" + ("" if codec == "fp32" else f":{codec}")


@dataclass(frozen=True, slots=True)
class Route:
    """An exit, where it is cut, and from which bandwidth on this is the right way to answer.

    cut names the tensors that leave the entry node, None when none do. min_bandwidth (bit/s, safety
    included): from here on this route is taken. met_from: from here on the model says that it keeps the SLO
    (0: always, None: never within the range). latency (seconds, margin included): at min_bandwidth; for a
    route that is used
    down to no bandwidth at all, at met_from or, failing that, at the top of the range. head, tail: mean
    compute in seconds, without margin, at the entry node and beyond the link; None where nothing runs. bits:
    what crosses the link. codec: of the hops (`int8`, or `int8,fp16` where they differ). helper: another edge
    node that runs a stage, for middle seconds; second_cut: where it hands on to Triton, None: it finishes.
    threshold: the confidence from which an early exit's answer is taken; None: this exit always answers.
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
    codec: str = "fp32"
    helper: str | None = None
    second_cut: str | None = None
    middle: float | None = None
    threshold: float | None = None

    @property
    def name(self) -> str:
        """`exit@cut` or `exit@local`, and what is out of the ordinary; see route_name."""
        return route_name(self.exit, self.cut, self.codec, self.helper, self.second_cut, self.threshold)


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Routes, highest min_bandwidth first; the last is local wherever the mode allows that.

    accuracy: expected accuracy of answers in time (0 for late ones) over the range of bandwidths; loss: how
    much more a table without a limit would have.
    """

    routes: tuple[Route, ...]
    accuracy: float
    loss: float

    def at(self, bandwidth: float) -> Route:
        """The route that is taken at a bandwidth in bit/s."""
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
    """A route table. met: whether the SLO is kept at some bandwidth of the range; met_from: from which bit/s
    on.

    reasons are sentences for people: what limits the plan. nearest_slo: the shortest latency (s) that
    anything allowed reaches in the range of bandwidths.
    """

    table: RouteTable
    met: bool
    met_from: float | None
    nearest_slo: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Infeasible:
    """Nothing allowed can answer as asked. nearest_slo as in Plan; None when nothing could answer at all."""

    reasons: tuple[str, ...]
    nearest_slo: float | None
