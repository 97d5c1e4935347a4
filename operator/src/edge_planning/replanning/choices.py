"""What each route is worth under a forecast."""

from dataclasses import dataclass

import numpy as np

from edge_planning.replanning.arrays import Floats
from edge_planning.replanning.forecasts import Forecast
from edge_planning.replanning.routes import Routes


@dataclass(frozen=True, slots=True, eq=False)
class Prospects:
    """Per route: the probability that its answer is in time, the expected accuracy of what goes out in time,
    and the utility that decides. All [routes].
    """

    on_time: Floats
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
    remote = routes.bits > 0
    if forecast is None:
        on_time = np.where(remote, 0.0, np.isfinite(thresholds) * 1.0)
        seconds = np.where(remote, np.inf, routes.seconds)
    else:
        on_time = forecast.probability_above(thresholds)
        seconds = routes.seconds + routes.bits / max(forecast.median, 1e-9)
    missed = np.where(routes.fallback > 0, 0.0, 1 - on_time)
    accuracy = routes.accuracy * on_time + routes.fallback * (1 - on_time)
    utility = accuracy - price * missed
    rank = utility
    if objective is not None:
        kept = 1 - missed >= objective
        rank = np.where(kept, utility, (1 - missed) - 2 - price) if kept.any() else 1 - missed
    best = int(np.lexsort((seconds, -np.round(rank, 9)))[0])
    return Prospects(on_time, accuracy, utility, best)
