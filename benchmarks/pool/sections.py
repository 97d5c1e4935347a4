"""Runs the sections of a benchmark on the testbed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks.runtime.commands import say
from demo.errors import DemoError
from testbed import Testbed
from testbed.errors import TestbedError

Prepared_contra = TypeVar("Prepared_contra", contravariant=True)


class Section(Protocol[Prepared_contra]):
    """Measures one thing on a prepared testbed. quick: as a check that everything runs."""

    def __call__(self, site: Prepared_contra, /, *, quick: bool) -> object: ...


def measured(
    root: Path,
    prepare: Callable[[], Prepared_contra],
    sections: Mapping[str, Section[Prepared_contra]],
    *,
    quick: bool,
    keep: bool,
) -> dict[str, object]:
    """Returns the results of the sections; `left_out` has the reasons of those that failed.

    keep: leaves the testbed running; one that ran before always is. Raises TestbedError if it cannot be
    prepared.
    """
    bed = Testbed.of_checkout(root)
    keep = keep or bed.running()
    found: dict[str, object] = {"quick": quick}
    left_out: dict[str, str] = {}
    try:
        site = prepare()
        for key, measure in sections.items():
            say(f"{key}:")
            try:
                found[key] = measure(site, quick=quick)
            except (TestbedError, DemoError) as error:
                say(str(error))
                left_out[key] = str(error)
    except DemoError as error:
        raise TestbedError(str(error)) from error
    finally:
        if not keep:
            bed.down()
    return found | ({"left_out": left_out} if left_out else {})
