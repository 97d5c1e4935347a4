"""Metadata of models as earlier versions of the store wrote them: exits of one output each."""

from __future__ import annotations

from typing import Any


def in_this_form(metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns metadata in the form of this version; the same if they have it."""
    return {"local": "", **metadata, "exits": [_exit(exit_) for exit_ in metadata["exits"]]}


def _exit(exit_: dict[str, Any]) -> dict[str, Any]:
    if "outputs" in exit_:
        return exit_
    kept = {field: value for field, value in exit_.items() if field not in ("output", "tensor")}
    cuts = [{"tensors": [cut["tensor"]], **cut} for cut in exit_["cuts"]]
    outputs = {"outputs": [exit_["output"]], "responseNames": "Final", "tensors": [exit_["tensor"]]}
    return {**kept, **outputs, "cuts": cuts}
