"""Draws the pictures of the README as SVG. Pure."""

from __future__ import annotations

from typing import Final
from xml.etree import ElementTree

AXIS: Final = {"fill": "#666666", "font-size": "11"}
MIDDLE: Final = {"text-anchor": "middle"}
END: Final = {"text-anchor": "end"}


def canvas(width: float, height: float, title: str) -> ElementTree.Element:
    """Returns a white picture of this size in pixels; `title` is its text for screen readers."""
    svg = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width:g} {height:g}",
            "width": f"{width:g}",
            "height": f"{height:g}",
            "font-family": "system-ui, sans-serif",
            "font-size": "13",
            "role": "img",
            "aria-labelledby": "t",
        },
    )
    ElementTree.SubElement(svg, "title", {"id": "t"}).text = title
    draw(svg, "rect", width=width, height=height, fill="#ffffff")
    return svg


def draw(svg: ElementTree.Element, kind: str, text: str | None = None, **attributes: float | str) -> None:
    """Adds an element; an underscore in the name of an attribute stands for a hyphen."""
    written = {
        key.replace("_", "-"): a if isinstance(a, str) else f"{a:.6g}" for key, a in attributes.items()
    }
    ElementTree.SubElement(svg, kind, written).text = text


def text_of(svg: ElementTree.Element) -> str:
    """Returns the picture as the text of a file."""
    ElementTree.indent(svg)
    return ElementTree.tostring(svg, encoding="unicode") + "\n"
