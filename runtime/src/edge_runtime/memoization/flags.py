"""The flags of `edge-runtime serve` that enable the input filter and the result cache."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import isfinite

from edge_api.quantities import parse_duration, parse_quantity
from edge_runtime.errors import BadRequest
from edge_runtime.memoization.settings import ANSWER, DROP, CacheOptions, FilterOptions, MemoizationSettings


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; all are off by default."""
    group = parser.add_argument_group("inputs that need no inference (docs/memoization.md)")
    group.add_argument(
        "--filter-threshold",
        type=_threshold,
        metavar="SHARE",
        help="skip the computation for inputs nearer than this to the last one, e.g. 0.02 of its contrast",
    )
    group.add_argument(
        "--filter-action",
        choices=(ANSWER, DROP),
        help=f"whether to repeat the last result or respond without outputs (default {ANSWER})",
    )
    group.add_argument(
        "--filter-max-age",
        type=_of(parse_duration),
        metavar="DURATION",
        help="maximum age of a repeated result, default 1s",
    )
    group.add_argument(
        "--cache-bytes",
        type=_of(parse_quantity),
        metavar="QUANTITY",
        help="size of the result cache, e.g. 16Mi",
    )
    group.add_argument(
        "--cache-max-age",
        type=_of(parse_duration),
        metavar="DURATION",
        help="maximum age of a cached result, default 60s",
    )


def memoization_of(arguments: argparse.Namespace) -> MemoizationSettings:
    """The settings given by the flags. Raises BadRequest for a detail of a disabled feature."""
    threshold, action, filter_age = (
        arguments.filter_threshold,
        arguments.filter_action,
        arguments.filter_max_age,
    )
    size, cache_age = arguments.cache_bytes, arguments.cache_max_age
    if threshold is None and (action is not None or filter_age is not None):
        flag = "--filter-action" if action is not None else "--filter-max-age"
        raise BadRequest(f"{flag}: has no effect without --filter-threshold: add it, e.g. 0.02")
    if size is None and cache_age is not None:
        raise BadRequest("--cache-max-age: has no effect without --cache-bytes: add it, e.g. 16Mi")
    filtering = FilterOptions(threshold=threshold) if threshold is not None else None
    if filtering is not None:
        filtering = FilterOptions(action or filtering.action, threshold, filter_age or filtering.max_age)
    caching = CacheOptions(max_bytes=size) if size is not None else None
    if caching is not None and cache_age is not None:
        caching = CacheOptions(size, cache_age)
    return MemoizationSettings(filtering, caching)


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not between 0 and 1: write a number such as 0.02')
    return value


def _of(parse: Callable[[str], float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        if not isfinite(value) or value <= 0:
            raise argparse.ArgumentTypeError(f'"{text}" must be greater than 0')
        return value

    return read
