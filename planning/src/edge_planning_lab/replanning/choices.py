"""The expected utility of each route under a forecast."""

from dataclasses import dataclass

import numpy as np

from edge_planning_lab.replanning.arrays import Floats
from edge_planning_lab.replanning.forecasts import Forecast
from edge_planning_lab.replanning.routes import Routes


@dataclass(frozen=True, slots=True, eq=False)
class Prospects:
    """The expected results of each route; all arrays [routes].

    Attributes:
        on_time: Probability that its own response is in time.
        answered: Probability that any response is in time, including the fallback's.
        accuracy: Expected accuracy of the response in time.
        utility: The criterion of the choice.
        best: Index of the best route.
    """

    on_time: Floats
    answered: Floats
    accuracy: Floats
    utility: Floats
    best: int


def prospects(
    routes: Routes,
    forecast: Forecast | None,
    *,
    price: float = 0.0,
    objective: float | None = None,
    delay: float = 0.0,
) -> Prospects:
    """Returns the expected results of all routes, and the best.

    utility = accuracy P(in time) + fallback P(late) - price P(missed); missed: late without a fallback. With
    an `objective`, routes that respond in time with at least that probability are preferred to all others; if
    there is none, the route with the highest probability is the best. Ties go to the route that is faster at
    the median bandwidth. A `forecast` of None means that the link is down.
    """
    thresholds = routes.thresholds(delay)
    if forecast is None:
        on_time = np.where((routes.bits > 0) | (thresholds > 0), 0.0, 1.0)
    else:
        on_time = forecast.probability_above(thresholds)
    answered = np.where(routes.fallback > 0, 1.0, on_time)
    accuracy = routes.accuracy * on_time + routes.fallback * (1 - on_time)
    utility = accuracy - price * (1 - answered)
    rank = utility
    if objective is not None:
        kept = answered >= objective
        rank = np.where(kept, utility, -np.inf) if kept.any() else answered
    return Prospects(on_time, answered, accuracy, utility, _first(routes, rank, forecast))


def _first(routes: Routes, rank: Floats, forecast: Forecast | None) -> int:
    equal = np.flatnonzero(rank >= rank.max() - 1e-9)
    if len(equal) == 1:
        return int(equal[0])
    bandwidth = 1e-9 if forecast is None else forecast.median
    return int(equal[np.argmin(routes.seconds[equal] + routes.bits[equal] / bandwidth)])
