"""A second act in which the noisy tenant steps down and is refused, for the tests of what is made from it."""

from demo.sharing.phases import planned
from demo.sharing.results import PhaseLoad, SharingResult, Terms
from demo.statistics import RequestResult

TERMS = Terms("quiet", "noisy", ("edge-b",), slo=0.8, rate=2.0, exits=("exit1", "exit2", "exit3"))
LISTED = "NAME    WEIGHT\nnoisy   1\nquiet   1"
BUSY = "[429] requests ahead take 900 ms: retry in 1 s"


def sent(
    began: float, seconds: float, rate: float, exit_: str = "exit3", latency: float = 0.2
) -> list[RequestResult]:
    """Correct responses of one exit, evenly spread."""
    count = round(seconds * rate)
    return [
        RequestResult("edge-b", began + seconds * number / count, latency, True, exit_, "local")
        for number in range(count)
    ]


def refused(began: float, count: int) -> list[RequestResult]:
    return [RequestResult("edge-b", began + 0.1 * number, 0.01, error=BUSY) for number in range(count)]


def sharing_result() -> SharingResult:
    """4, 8 and 2 seconds. While noisy sends 20 requests/s, one of quiet's 16 responses is late.

    Of noisy's 160 requests, 40 get the full model, 100 a cheaper exit, and 20 are refused.
    """
    before, noisy, after = planned(8.0)
    late = [RequestResult("edge-b", 111.9, 0.9, True, "exit3", "local")]
    during = [*sent(104, 8, 5), *sent(104, 8, 12.5, "exit1", 0.7), *refused(104, 20)]
    return SharingResult(
        TERMS,
        [
            PhaseLoad(before, 100.0, {"quiet": sent(100, 4, 2), "noisy": sent(100, 4, 2)}),
            PhaseLoad(noisy, 104.0, {"quiet": [*sent(104, 7.5, 2), *late], "noisy": during}),
            PhaseLoad(after, 112.0, {"quiet": sent(112, 2, 2), "noisy": sent(112, 2, 2)}),
        ],
        LISTED,
    )
