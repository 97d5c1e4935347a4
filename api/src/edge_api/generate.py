"""Generates what follows from the API: the CustomResourceDefinitions, the table of reasons in a page, and the
reference of the fields.

`python -m edge_api.generate FOLDER… [--page FILE] [--fields FILE]`
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from edge_api import reasons
from edge_api.field_pages import field_page
from edge_api.kinds import KINDS
from edge_api.objects import GROUP
from edge_api.schemas import definition

_BEGIN, _END = "<!-- generated: reasons -->\n", "<!-- end -->\n"
_HEADER = "# Generated from api/src/edge_api by `make generate`. Do not edit.\n"


class _Written(yaml.SafeDumper):
    """Writes a part that occurs twice in full each time, without anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def files() -> dict[str, str]:
    """The text of each file by its name; the same on every call."""
    return {
        f"{GROUP}_{kind.resource.plural}.yaml": _HEADER
        + yaml.dump(definition(kind), Dumper=_Written, sort_keys=False, width=110, allow_unicode=True)
        for kind in KINDS.values()
    }


def differing(folder: Path) -> list[Path]:
    """The files of a folder that are missing, are not as generated, or are not known."""
    wanted = files()
    known = [folder / name for name, text in wanted.items() if _text(folder / name) != text]
    unknown = [path for path in sorted(folder.glob("*.yaml")) if path.name not in wanted]
    return [*known, *unknown]


def page_with_reasons(text: str) -> str:
    """Returns a Markdown page with the table of reasons between its two markers."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table_of_reasons()}\n{_END}{after}"


def table_of_reasons() -> str:
    """The reasons as a Markdown table, by the condition with which each occurs first."""
    order = [*reasons.CONDITIONS, *reasons.OTHER_KINDS, reasons.EVENT, reasons.ADMISSION]
    rows = sorted(reasons.REASONS.values(), key=lambda reason: order.index(reason.where[0]))
    lines = ["| condition | reason | meaning | what to do |", "| --- | --- | --- | --- |"]
    for reason in rows:
        where = ", ".join(f"`{name}`" if name in reasons.CONDITIONS else name for name in reason.where)
        lines.append(f"| {where} | `{reason.name}` | {reason.meaning} | {reason.fix} |")
    return "\n".join(lines) + "\n"


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes, or with --check compares; returns 1 if something differs."""
    parser = argparse.ArgumentParser(prog="python -m edge_api.generate", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; name the files that differ and end with 1"
    )
    parser.add_argument("--page", type=Path, metavar="FILE", help="page with the table of reasons")
    parser.add_argument("--fields", type=Path, metavar="FILE", help="page with the fields of all kinds")
    options = parser.parse_args(arguments)
    if options.check:
        wrong = [path for folder in options.folders for path in differing(folder)]
        if options.page and _text(options.page) != page_with_reasons(_text(options.page) or ""):
            wrong.append(options.page)
        if options.fields and _text(options.fields) != field_page():
            wrong.append(options.fields)
        for path in wrong:
            print(
                f"{path}: not as generated: run `make generate`, and remove files that it does not write",
                file=sys.stderr,
            )
        return 1 if wrong else 0
    for folder in options.folders:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files().items():
            (folder / name).write_text(text, encoding="utf-8")
    if options.page:
        page = options.page.read_text(encoding="utf-8")
        options.page.write_text(page_with_reasons(page), encoding="utf-8")
    if options.fields:
        options.fields.write_text(field_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
