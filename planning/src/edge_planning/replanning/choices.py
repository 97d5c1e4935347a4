"""What each route is worth under a forecast."""

from dataclasses import dataclass

import numpy as np

from edge_planning.replanning.arrays import Floats
from edge_planning.replanning.forecasts import Forecast
from edge_planning.replanning.routes import Routes


@dataclass(frozen=True, slots=True, eq=False)
class Prospects:
    """What each route promises; all [routes], best is an index.

    on_time: probability that its own answer is in time. answered: that any is, the fallback's included.
    accuracy: expected, of what goes out in time. utility: what decides.
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
    """The prospects of all routes, and the best.

    utility = accuracy P(in time) + fallback P(late) - price P(missed); missed: late without a fallback. With
    an objective, routes that are answered in time with at least that probability go before all others; where
    there is none, the one that is most often in time. Among equals the one that is faster at the median.
    forecast None: there is no link.
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
