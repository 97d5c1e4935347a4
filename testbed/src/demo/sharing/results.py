"""What the clients of the tenants measured, and its summary. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from demo.sharing.phases import LoadPhase
from demo.statistics import RequestResult, summarise


@dataclass(frozen=True)
class Terms:
    """What the tenants share and have declared.

    Attributes:
        quiet: Name of the tenant that sends its declared rate throughout.
        noisy: Name of the tenant that sends more for a time.
        nodes: Entry nodes of both.
        slo: Latency SLO in seconds.
        rate: Declared requests per second at each node.
        exits: Names, from the first exit to the full model.
    """

    quiet: str
    noisy: str
    nodes: tuple[str, ...]
    slo: float
    rate: float
    exits: tuple[str, ...]

    @property
    def tenants(self) -> tuple[str, str]:
        return self.quiet, self.noisy


@dataclass(frozen=True)
class PhaseLoad:
    """One phase: `began` in seconds of the monotonic clock; the results of each tenant."""

    phase: LoadPhase
    began: float
    results: Mapping[str, Sequence[RequestResult]]


@dataclass(frozen=True)
class SharingResult:
    """The second act. `listed`: of `kubectl get tenants` at the end of the noisy phase. `error`: why it did
    not complete.
    """

    terms: Terms
    phases: Sequence[PhaseLoad]
    listed: str = ""
    error: str | None = None

    def results(self, tenant: str) -> list[RequestResult]:
        """Returns all results of a tenant."""
        return [result for phase in self.phases for result in phase.results[tenant]]


@dataclass(frozen=True)
class TenantSummary:
    """The requests of a tenant in a phase.

    Attributes:
        full: Responses of the full model.
        cheaper: Responses of other exits.
        refused: Requests that a node refused at once because it was too busy (Overloaded).
        lost: Requests with another error, or without a response.
        attainment: Share of all requests with a response within the SLO; None without requests.
        accuracy: Of the responses; None without any.
        p50: Median latency of the responses in seconds; None without any.
        p95: 95th percentile of the same.
    """

    requests: int
    full: int
    cheaper: int
    refused: int
    lost: int
    attainment: float | None
    accuracy: float | None
    p50: float | None
    p95: float | None


def summary(results: Sequence[RequestResult], terms: Terms) -> TenantSummary:
    """Summarizes requests of one tenant."""
    found = summarise(results, terms.slo)
    full = sum(result.exit == terms.exits[-1] for result in results if not result.failed)
    return TenantSummary(
        requests=found.requests,
        full=full,
        cheaper=found.requests - found.failed - full,
        refused=found.refused,
        lost=found.failed - found.refused,
        attainment=found.attainment,
        accuracy=found.accuracy,
        p50=found.p50,
        p95=found.p95,
    )
