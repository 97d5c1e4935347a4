"""An explanation as text for a terminal. Pure."""

from collections.abc import Iterable

from edge_api.quantities import Quantity, format_bandwidth
from edge_operator.explaining.values import (
    EntryExplanation,
    Explanation,
    PlannedPacking,
    ResourceUse,
    TenantExplanation,
)
from edge_operator.tritons.admission import bytes_text
from edge_planning.choosing.sentences import bandwidth_text, seconds_text
from edge_planning.text_tables import text_table

SHOWN = 15
"""How many of the rejected candidates of an entry node are printed."""

_TABLES = {
    "Published": "as planned now",
    "Standing": "stays, since nothing that it was planned for has changed",
    "New": "none yet",
    "Changed": "not the one that is planned now",
    "WithoutRoom": "stays, although the pool has no room for it",
    "None": "none",
}


def explanation_text(found: Explanation) -> str:
    """Returns the service, its open conditions, and each entry node."""
    accuracy = "" if found.min_accuracy is None else f", accuracy of at least {found.min_accuracy:g}"
    lines = [
        f"InferenceService {found.namespace}/{found.service}",
        f"  SLO: {seconds_text(found.latency)} at p{found.percentile:g}{accuracy}",
        f"  mode {found.mode}, optimize {found.optimize}",
    ]
    for condition in found.conditions:
        lines += [
            f"  {condition.type} is {condition.status}, {condition.reason}: {condition.message}",
            *([f"    {condition.meaning} {condition.fix}"] if condition.meaning else []),
        ]
    lines += _tenant(found.tenant)
    lines += [f"  note: {note}" for note in found.notes]
    for entry in found.entries:
        lines += ["", *_entry(entry)]
    return "\n".join(lines) + "\n"


def _tenant(tenant: TenantExplanation | None) -> Iterable[str]:
    if tenant is None:
        return
    pool = tenant.pool
    yield f"  Tenant {tenant.name} in pool {pool.name}: {pool.share} of it"
    for use in pool.resources:
        used = f"used {use.used}, borrowed {use.borrowed}, lent {use.lent}"
        yield f"    {use.kind}: entitled to {use.nominal}, {used}"
    yield from (f"    {shortage}" for shortage in pool.shortages)


def _entry(entry: EntryExplanation) -> Iterable[str]:
    link = (
        f"{bandwidth_text(entry.bandwidth)} {'measured' if entry.measured else 'assumed, not measured yet'}"
    )
    yield f"Entry node {entry.node} (device class {entry.device_class}), link: {link}"
    yield f"  published table: {_TABLES[entry.table]}"
    yield from _planned_for(entry)
    if entry.shortage:
        yield f"  {entry.shortage}"
    for limit in entry.limits:
        yield f"  {limit}"
    if entry.nearest_feasible_latency is not None:
        yield f"  nearest feasible latency: {seconds_text(entry.nearest_feasible_latency)}"
    if entry.routes:
        yield "  route table:"
        priced = any(route.predicted_cost is not None for route in entry.routes)
        titles = ["", "route", "accuracy", "used from", "latency there", "meets the SLO from"]
        head = (*titles, *(["cost"] if priced else []))
        rows = [
            (
                "*" if route.name == entry.active_route else "",
                route.name,
                f"{route.accuracy:.3f}",
                bandwidth_text(route.min_bandwidth),
                seconds_text(route.predicted_latency),
                _from(route.meets_from),
                *([f"{route.predicted_cost:.3g}"] if route.predicted_cost is not None else []),
            )
            for route in entry.routes
        ]
        yield text_table([head, *rows], indent=4)
    else:
        yield "  no route table"
    remedies = [remedy for remedy in entry.remedies if remedy not in entry.limits]
    if remedies:
        yield f"  at {bandwidth_text(entry.bandwidth)}:"
        yield from (f"    {remedy}" for remedy in remedies)
    yield from _rejected(entry)


def _planned_for(entry: EntryExplanation) -> Iterable[str]:
    """Yields what the table was planned with, and what it uses."""
    rate = entry.rate
    reserved = "" if rate.source == "Declared" else f", {rate.reserved:g} reserved"
    fitting = "" if rate.fitting is None else f", {rate.fitting:g} fit: {rate.binding} binds"
    yield f"  planned for {rate.value:g} requests/s ({rate.source.lower()}){reserved}{fitting}"
    links = [
        f"{link.peer} {seconds_text(link.round_trip)}"
        + ("" if link.bandwidth is None else f" at {bandwidth_text(link.bandwidth)}")
        for link in entry.links
    ]
    if links:
        yield f"  round trips: {', '.join(links)}"
    margins = (
        f"{margin.exit} {margin.factor:.3g}{' (measured)' if margin.measured else ''}"
        for margin in entry.margins
    )
    yield f"  margins of compute times: {', '.join(margins)}"
    yield from (f"  {_packing(each)}" for each in entry.packing)
    if entry.request_time is None:
        yield "  processor time of requests outside of inference: not measured, counted as 0"
    else:
        yield f"  processor time of requests outside of inference: {seconds_text(entry.request_time)}"
    yield from (f"  uses {_use(use)}" for use in entry.uses)


def _packing(packing: PlannedPacking) -> str:
    memory, other = f"{packing.memory:.3g}", f"{packing.other_memory:.3g}"
    slower = f"{packing.slowdown:.3g}"
    if packing.packed:
        return (
            f"weights at {packing.place}: packed, {memory} bytes of memory for each byte of a slice; "
            f"without packing {other}, with runs {slower} times as long"
        )
    return (
        f"weights at {packing.place}: not packed, {memory} bytes of memory for each byte of a slice and runs "
        f"{slower} times as long; with packing {other} bytes"
    )


def _use(use: ResourceUse) -> str:
    if use.resource == "Memory":
        own, total = bytes_text(int(use.own), up=True), bytes_text(int(use.total), up=True)
        capacity = "" if use.capacity is None else f" of {bytes_text(int(use.capacity))}"
        return f"memory of {use.place}: {own}, all services {total}{capacity}"
    if use.resource == "Uplink":
        own, total = (f"{format_bandwidth(amount)}bit/s" for amount in (use.own, use.total))
        capacity = "" if use.capacity is None else f" of {format_bandwidth(use.capacity)}bit/s"
        return f"uplink of {use.place}: {own}, all services {total}{capacity}"
    place = f"Triton server {use.place}" if use.resource == "Triton" else f"cpu of {use.place}"
    capacity = "" if use.capacity is None else f" of {_share(use.capacity)}"
    return f"{place}: {_share(use.own)} of its time, all services {_share(use.total)}{capacity}"


def _share(amount: float) -> str:
    return f"{float(f'{100 * amount:.2g}'):g}%"


def _rejected(entry: EntryExplanation) -> Iterable[str]:
    if not entry.rejected:
        return
    best = sorted(
        entry.rejected,
        key=lambda each: (each.meets_from is None, -each.accuracy, each.meets_from or 0),
    )
    yield "  not in the table:"
    yield text_table([(each.name, each.reason) for each in best[:SHOWN]], indent=4)
    if len(best) > SHOWN:
        yield f"    and {len(best) - SHOWN} more: -o json lists all"


def _from(bandwidth: Quantity | None) -> str:
    return "never" if bandwidth is None else "always" if bandwidth == 0 else bandwidth_text(bandwidth)
