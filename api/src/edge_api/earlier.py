"""Objects that earlier versions stored, in the spelling of this version.

The API server refuses the earlier spelling in a new manifest, but keeps objects that have it. They are read,
and `earlier_spellings` says what to write instead.
"""

from collections.abc import Callable, Mapping
from typing import Any

from edge_api.words import shown

Body = Mapping[str, Any]

_TIERS = {"device": "Device", "edge": "Edge"}


def in_this_version(body: Body) -> Body:
    """Returns the object in this version's spelling; the object itself if it already is."""
    return _converted(body)[0]


def earlier_spellings(body: Body) -> list[str]:
    """Returns one sentence for each value in an earlier spelling: field, value and what to write."""
    return _converted(body)[1]


def _converted(body: Body) -> tuple[Body, list[str]]:
    spec = body.get("spec")
    convert = _KINDS.get(str(body.get("kind")))
    if convert is None or not isinstance(spec, Mapping):
        return body, []
    found: list[str] = []
    changed = convert(spec, found)
    return ({**body, "spec": changed}, found) if found else (body, [])


def _pool(spec: Body, found: list[str]) -> Body:
    for path in ("links.probeBudget", "links.local.bandwidth"):
        spec = _as_text(spec, path, found)
    groups = spec.get("nodes")
    if not isinstance(groups, list | tuple):
        return spec
    return {**spec, "nodes": [_group(index, group, found) for index, group in enumerate(groups)]}


def _as_text(spec: Body, path: str, found: list[str], where: str = "spec") -> Body:
    """Converts the number at a path such as links.probeBudget: quantities could be numbers."""
    name, _, below = path.partition(".")
    value, where = spec.get(name), f"{where}.{name}"
    if below:
        return {**spec, name: _as_text(value, below, found, where)} if isinstance(value, Mapping) else spec
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return spec
    found.append(f'{where}: {value} is now text: write "{value}" in quotes and apply it')
    return {**spec, name: f"{value}"}


def _group(index: int, group: object, found: list[str]) -> object:
    if not isinstance(group, Mapping) or not isinstance(tier := group.get("tier"), str) or tier not in _TIERS:
        return group
    found.append(f"spec.nodes[{index}].tier: {shown(tier)} is now spelt {_TIERS[tier]}: apply that")
    return {**group, "tier": _TIERS[tier]}


def _service(spec: Body, found: list[str]) -> Body:
    return _as_text(spec, "resultCache.maxBytes", found)


def _model_with_outputs(spec: Body, found: list[str]) -> Body:
    """Models had one output."""
    model = spec.get("model")
    if not isinstance(model, Mapping) or not isinstance(model.get("output"), Mapping):
        return spec
    found.append("spec.model.output: is now a list: write outputs")
    named = {field: value for field, value in model.items() if field != "output"}
    return {**spec, "model": {"outputs": [model["output"]], **named}}


_KINDS: dict[str, Callable[[Body, list[str]], Body]] = {
    "DevicePool": _pool,
    "InferenceService": _service,
    "Placement": _model_with_outputs,
    "ModelProfile": _model_with_outputs,
}
