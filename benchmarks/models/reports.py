"""The results of `make models`: counts, and the table of docs/models.md."""

from collections.abc import Sequence
from typing import Any, Final

from benchmarks.models.catalogue import ModelFile
from benchmarks.models.checking import Checked

_BEGIN: Final = '<!-- models: written by `make models ARGS="--page docs/models.md"` -->'
_END: Final = "<!-- models: end -->"


def summary(found: Sequence[Checked]) -> dict[str, Any]:
    """The counts, and what was left out of them with the reason.

    A file is served if it is alone and on every planned route, and sliced if every cut was equal.
    """
    left_out = [
        {"file": one.name, "step": step, "reason": why}
        for one in found
        for step, why in [*one.wrong.items(), *(("equal", said) for said in one.unequal)]
    ]
    return {
        "files": len(found),
        "served": sum(not one.wrong.keys() & {"served", "placed"} for one in found),
        "sliced": sum("sliced" not in one.wrong for one in found),
        "profiled": sum("profiled" not in one.wrong for one in found),
        "planned": sum("planned" not in one.wrong for one in found),
        "equal": sum(one.equal for one in found),
        "left_out": left_out,
        "cuts": sum(one.cuts for one in found),
        "routes": sum(len(one.routes) for one in found),
        "seconds": round(sum(one.seconds for one in found)),
    }


def page(text: str, models: Sequence[ModelFile], found: Sequence[Checked]) -> str:
    """Returns the page with the table of these results."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    rows = ["| file | kind | from | shape in use | result |", "| --- | --- | --- | --- | --- |"]
    for model, one in zip(models, found, strict=True):
        shapes = ", ".join("x".join(map(str, each.shape)) or "scalar" for each in model.inputs.values())
        wrong = [*(f"not {step}" for step in one.wrong), *(["not equal"] if one.unequal else [])]
        rows.append(
            f"| {model.name} | {model.kind} | {model.origin} | {shapes} | {', '.join(wrong) or 'equal'} |"
        )
    return f"{before}{_BEGIN}\n\n{_counted(found)}\n\n" + "\n".join(rows) + f"\n\n{_END}{after}"


def _counted(found: Sequence[Checked]) -> str:
    counts = summary(found)
    return (
        f"Of {counts['files']} files, {counts['served']} are served, {counts['profiled']} measured, "
        f"{counts['planned']} planned,\nand {counts['equal']} equal everywhere: at {counts['cuts']} cuts and "
        f"on {counts['routes']} routes."
    )
