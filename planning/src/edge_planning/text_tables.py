"""Rows as a table of plain text."""

from collections.abc import Collection, Sequence


def text_table(
    rows: Sequence[Sequence[str]], *, right: Collection[int] = (), ruled: bool = False, indent: int = 0
) -> str:
    """Returns the rows as aligned lines.

    The text is the same on a terminal, in a pipe and in a file: no colors, and no line is wrapped.

    Args:
        rows: Cells, equally many in each row; the first row may be headings.
        right: Columns aligned to the right, such as numbers; negative ones count from the last.
        ruled: Whether a line of dashes separates the first row from the others.
        indent: Spaces before each line.
    """
    if not rows:
        return ""
    from rich.console import Console  # takes 0.1 s, which a process that prints no table does not pay
    from rich.table import Table
    from rich.text import Text

    columns = len(rows[0])
    numbers = {column % columns for column in right}
    table = Table.grid(padding=(0, 2, 0, 0))
    for column in range(columns):
        table.add_column(justify="right" if column in numbers else "left", no_wrap=True)
    cells = [[Text(cell) for cell in row] for row in rows]  # as Text, "[0]" is not markup
    if ruled:
        widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
        cells.insert(1, [Text("-" * width) for width in widths])
    for row in cells:
        table.add_row(*row)
    # With a size, rich asks neither the terminal nor the environment for one.
    width = sum(cell.cell_len + 2 for row in cells for cell in row)
    console = Console(width=width, height=1, color_system=None, force_terminal=False, force_jupyter=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(" " * indent + line.rstrip() for line in capture.get().split("\n")[:-1])
