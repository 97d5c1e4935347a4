"""The flags of `edge-runtime serve` that enable the input filter and the result cache."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import isfinite

from edge_api.quantities import parse_duration, parse_quantity
from edge_runtime.errors import BadRequest
from edge_runtime.memoization.settings import ANSWER, DROP, CacheOptions, FilterOptions, MemoizationSettings


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags; all are off unless given."""
    group = parser.add_argument_group("inputs that need no inference (docs/memoization.md)")
    group.add_argument(
        "--filter-threshold",
        type=_threshold,
        metavar="SHARE",
        help="do not compute what is nearer than this to the input before, e.g. 0.02 of its contrast",
    )
    group.add_argument(
        "--filter-action",
        choices=(ANSWER, DROP),
        help=f"repeat the last result, or answer without outputs (default {ANSWER})",
    )
    group.add_argument(
        "--filter-max-age",
        type=_of(parse_duration),
        metavar="DURATION",
        help="of a repeated result, default 1s",
    )
    group.add_argument(
        "--cache-bytes", type=_of(parse_quantity), metavar="QUANTITY", help="for results, e.g. 16Mi"
    )
    group.add_argument(
        "--cache-max-age", type=_of(parse_duration), metavar="DURATION", help="of a kept result, default 60s"
    )


def memoization_of(arguments: argparse.Namespace) -> MemoizationSettings:
    """The settings given by the flags; BadRequest for a detail of something that is disabled."""
    threshold, action, filter_age = (
        arguments.filter_threshold,
        arguments.filter_action,
        arguments.filter_max_age,
    )
    size, cache_age = arguments.cache_bytes, arguments.cache_max_age
    if threshold is None and (action is not None or filter_age is not None):
        flag = "--filter-action" if action is not None else "--filter-max-age"
        raise BadRequest(f"{flag}: there is no filter without --filter-threshold; add it, e.g. 0.02")
    if size is None and cache_age is not None:
        raise BadRequest("--cache-max-age: there is no cache without --cache-bytes; add it, e.g. 16Mi")
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
        raise argparse.ArgumentTypeError(f'"{text}" is not a share between 0 and 1, e.g. 0.02')
    return value


def _of(parse: Callable[[str], float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        if not isfinite(value) or value <= 0:
            raise argparse.ArgumentTypeError(f'"{text}" is not more than 0')
        return value

    return read
