"""Prices of the linking rows: the Lagrangian dual of a joint choice, smoothed, by Newton's method.

    max  sum_do gain_do x_do + reward * level
    s.t. sum_o x_do = 1                                             for every demand
         sum_do amounts_dko x_do + rising_r level <= limit_r        for every linking row r = rows_dk: price_r
         0 <= level, x

Given the prices, each demand chooses independently: the best of gain - price x amounts. The dual function is
the sum of these maxima. An entropy of temperature T smooths each (Nesterov, "Smooth minimization of
non-smooth functions", Math. Programming 2005), and a logarithmic barrier keeps prices positive, as in
interior-point Lagrangian decomposition (Necoara and Suykens, JOTA 2009). Over thousands of demands the
smoothed function is nearly quadratic, so a few Newton steps per temperature suffice. A step costs O(demands x
slots^2 x candidates) in one batched product, and solves one system of the size of the linking rows.

The bound is computed afterwards with the unsmoothed dual function (frames.proof); it is valid at any
iteration.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_planning.sharing.arrays import Floats, Integers, Mask

TINY = 1e-12
LARGEST = 1e9
COLD = (0.3, 0.1, 0.04, 0.015, 0.006, 0.002)
WARM = (0.015, 0.006, 0.002)


@dataclass(frozen=True, slots=True, eq=False)
class RelaxedProgram:
    """gain [D, O], allowed [D, O], rows [D, K], amounts [D, K, O], limit and rising [rows]."""

    gain: Floats
    allowed: Mask
    rows: Integers
    amounts: Floats
    limit: Floats
    rising: Floats
    reward: float
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class Relaxed:
    """price [rows] >= 0. shares [D, O]: of each candidate in the smoothed choice. steps: Newton steps."""

    price: Floats
    shares: Floats
    level: float
    dual: float
    steps: int


def relax(
    program: RelaxedProgram,
    start: Floats | None = None,
    temperatures: Sequence[float] = COLD,
    tolerance: float = 2e-4,
) -> Relaxed:
    """Returns prices that minimize the dual function, starting from `start` if given.

    Stops when a lower temperature improves the bound by less than a share `tolerance`.
    """
    return _Newton(program, start).run(temperatures, tolerance)


class _Newton:
    """The state of one run; everything in units of the mean gain."""

    def __init__(self, program: RelaxedProgram, start: Floats | None) -> None:
        self.p = program
        self.m = len(program.limit)
        slots = program.rows.shape[1]
        self.pair = (program.rows[:, :, None] * self.m + program.rows[:, None, :]).reshape(-1, slots * slots)
        self.scale = max(program.scale, TINY)
        self.gain = np.where(program.allowed, program.gain / self.scale, -np.inf)
        self.reward = program.reward / self.scale
        self.unit = max(len(program.rows) / self.m, TINY)
        self.rises = bool((program.rising > 0).any())
        if start is None:
            self.price = np.full(self.m, 0.3 * self.unit)
            if self.rises:
                fair = 1.2 * self.reward / float(program.rising.sum())
                self.price = np.where(program.rising > 0, fair, self.price)
        else:
            self.price = np.maximum(start / self.scale, 1e-3 * self.unit)
            if self.rises:
                short = 1.02 * self.reward / max(float(program.rising @ self.price), TINY)
                self.price = np.where(program.rising > 0, self.price * max(short, 1.0), self.price)

    def table(self, price: Floats) -> Floats:
        return np.asarray(self.gain - np.einsum("dko,dk->do", self.p.amounts, price[self.p.rows]))

    def room(self, price: Floats) -> float:
        return float(self.p.rising @ price) - self.reward if self.rises else 1.0

    def smooth(self, price: Floats, heat: float, barrier: float) -> tuple[float, float, Floats]:
        """Returns the smoothed dual, the true dual, and the shares."""
        table = self.table(price)
        best = table.max(axis=1, keepdims=True)
        shares = np.exp((table - best) / heat)
        total = shares.sum(axis=1, keepdims=True)
        shares /= total
        true = float(best.sum() + self.p.limit @ price)
        value = true + heat * float(np.log(total).sum()) - barrier * float(np.log(price).sum())
        if self.rises:
            value -= barrier * float(np.log(self.room(price)))
        return value, true, shares

    def run(self, temperatures: Sequence[float], tolerance: float) -> Relaxed:
        steps, last, dual = 0, np.inf, np.inf
        shares = np.empty(0)
        best_price = self.price
        for heat in temperatures:
            barrier = 0.3 * heat * self.unit
            value, true, shares = self.smooth(self.price, heat, barrier)
            for _ in range(8):
                if float(self.price.max()) > LARGEST * self.unit:
                    break
                steps += 1
                direction, decrease = self.direction(shares, heat, barrier)
                value, true, shares, moved = self.search(direction, decrease, value, heat, barrier)
                if moved == 0.0 or (moved == 1.0 and decrease < 0.05 * heat * len(shares)):
                    break
            if true < dual:
                dual, best_price = true, self.price
            if last - dual < tolerance * abs(dual):
                break
            if float(self.price.max()) > LARGEST * self.unit:
                break  # infeasible: the dual is unbounded below, which proves it
            last = dual
        level = 0.3 * temperatures[0] * self.unit / self.room(self.price) if self.rises else 0.0
        return Relaxed(best_price * self.scale, shares, level, dual * self.scale, steps)

    def direction(self, shares: Floats, heat: float, barrier: float) -> tuple[Floats, float]:
        """Returns the Newton direction and the predicted decrease of the smoothed dual along it."""
        p, m = self.p, self.m
        weighted = p.amounts * shares[:, None, :]
        mean = weighted.sum(axis=2)
        block = weighted @ p.amounts.transpose(0, 2, 1)
        block -= mean[:, :, None] * mean[:, None, :]
        slots = np.arange(block.shape[1])
        block[:, slots, slots] = np.maximum(block[:, slots, slots], 0.0)  # variances, but for rounding
        hessian = np.bincount(self.pair.ravel(), block.ravel(), m * m).reshape(m, m) / heat
        slope = p.limit - np.bincount(p.rows.ravel(), mean.ravel(), m) - barrier / self.price
        hessian[np.diag_indices(m)] += barrier / self.price**2
        if self.rises:
            room = self.room(self.price)
            slope -= p.rising * (barrier / room)
            hessian += np.outer(p.rising, p.rising) * (barrier / room**2)
        size = np.sqrt(np.diag(hessian))
        scaled = hessian / np.outer(size, size)
        scaled[np.diag_indices(m)] += 1e-9
        step = -np.linalg.solve(scaled, slope / size) / size
        return step, -float(slope @ step)

    def search(
        self, step: Floats, decrease: float, value: float, heat: float, barrier: float
    ) -> tuple[float, float, Floats, float]:
        """Backtracks from the longest step that keeps the prices positive."""
        shrink = float((-step / self.price).max())
        length = min(1.0, 0.9 / shrink) if shrink > 0 else 1.0
        if self.rises:
            fall = -float(self.p.rising @ step)
            if fall > 0:
                length = min(length, 0.9 * self.room(self.price) / fall)
        for _ in range(12):
            price = self.price + length * step
            found, true, shares = self.smooth(price, heat, barrier)
            if found <= value - 0.1 * length * decrease:
                self.price = price
                return found, true, shares, length
            length *= 0.4
        _, true, shares = self.smooth(self.price, heat, barrier)
        return value, true, shares, 0.0
