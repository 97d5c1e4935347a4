"""Renders report.html: the comparison, the phases of every mode, the tenants, the plots. Usable offline."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from demo.figures import figure
from demo.formatting import MODE_COLUMNS, PHASE_COLUMNS, milliseconds, mode_cells
from demo.reports import DemoResult, score
from demo.sharing import summaries
from demo.sharing.figures import figure as tenant_figure
from demo.sharing.results import SharingResult
from demo.terminal import phase_rows

STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1b; --paper: #fcfcfa; --faint: #6b6b66; --line: #dcdcd6;
  --mark: #eef4fd }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ecece8; --paper: #1a1a19; --faint: #a3a39c; --line: #3a3a37; --mark: #22303f }
}
body { margin: 0 auto; max-width: 1500px; padding: 2rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0 0 .3rem } h2 { font-size: 1.1rem; margin: 2rem 0 .6rem }
p { color: var(--faint); margin: 0 0 1rem; max-width: 70ch }
pre { overflow-x: auto } li { margin: 0 0 .4rem; max-width: 90ch }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap }
th, td { padding: .35rem .8rem; text-align: right; border-bottom: 1px solid var(--line) }
th { font-weight: 600; color: var(--faint) } th:first-child, td:first-child { text-align: left }
tr.best td { background: var(--mark); font-weight: 600 }
img.picture { max-width: 100%; border: 1px solid var(--line) }
details { margin: .4rem 0 } summary { cursor: pointer }
"""
PLOTTED: Mapping[str, Any] = {"full_html": False, "config": {"displaylogo": False, "responsive": True}}
# Plotly has its own text color: set the page's color, also when the color scheme changes.
RECOLOR = """
const dark = matchMedia('(prefers-color-scheme: dark)');
const recolor = () => document.querySelectorAll('.js-plotly-plot').forEach(plot =>
  Plotly.relayout(plot, {'font.color': getComputedStyle(document.body).color}));
recolor(); dark.addEventListener('change', recolor);
"""


def page(result: DemoResult, report: Mapping[str, Any]) -> str:
    """Returns the page, with plotly's script."""
    plots = figure(result).to_html(include_plotlyjs=True, div_id="plots", **PLOTTED)
    slo = milliseconds(report["slo_s"])
    best = max(report["modes"], key=lambda name: score(report["modes"][name]), default="")
    compared = table(
        MODE_COLUMNS,
        [mode_cells(name, mode) for name, mode in report["modes"].items()],
        marked=[name == best for name in report["modes"]],
    )
    details = "\n".join(
        f"<details><summary>{escape(mode.mode)}, phase by phase</summary>"
        f"{table(PHASE_COLUMNS, phase_rows(mode, result.slo_seconds))}</details>"
        for mode in result.modes
    )
    return f"""<!doctype html>
<title>One model, split as the bandwidth allows</title>
<style>{STYLE}</style></head><body>
<h1>One model, split as the bandwidth allows</h1>
<p>Clients send held-out digits at a constant rate to every entry node while the link rate changes, once for
each mode. The SLO is {slo}; a request meets it if its response arrives within that time. Setup
took {report["setup_s"]:.0f} s, the runs
{report["demo_s"]:.0f} s; in Auto the nodes changed their route {report["switches"]} times.</p>
{compared}
<h2>Phase by phase</h2>{details}
<h2>Over time</h2>
<p>Each point is a request, at the time it was sent. Dotted: SLO. Thick gray: link rate; shaded: cut.</p>
<div class="scroll">{plots}</div>
{"" if result.tenants is None else tenants(result.tenants, report["tenants"])}
{console(result.console) if result.console else ""}
<script>{RECOLOR}</script></body></html>
"""


def console(picture: bytes) -> str:
    """Returns the part of the page with the console."""
    source = f"data:image/png;base64,{b64encode(picture).decode()}"
    return f"""<h2>The console</h2>
<p>The service after the modes, as the console shows it: its last hour, the route tables of its entry nodes,
and why they are so.</p>
<img class="picture" alt="The console's page of the service" src="{source}">"""


def tenants(result: SharingResult, report: Mapping[str, Any]) -> str:
    """Returns the part of the page about the tenants."""
    terms = result.terms
    rows = summaries.rows(result)
    told = "".join(f"<li>{escape(sentence)}.</li>" for sentence in summaries.sentences(report))
    plots = (
        tenant_figure(result).to_html(include_plotlyjs=False, div_id="tenants", **PLOTTED)
        if result.phases
        else ""
    )
    return f"""<h2>Two tenants share {escape(" and ".join(terms.nodes))}</h2>
<p>Both declare {terms.rate:g} requests per second at each node, with an SLO of {milliseconds(terms.slo)}.
{escape(terms.noisy)} sends {report["factor"]} times that while the plots are shaded. Dashed: SLO.</p>
<ul>{told}</ul>
{table(summaries.COLUMNS, rows, marked=[row[1] == terms.quiet for row in rows])}
<p><code>kubectl get tenants</code> at the end of that time:</p><pre>{escape(result.listed)}</pre>
<div class="scroll">{plots}</div>
"""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], marked: Sequence[bool] | None = None) -> str:
    """Returns an HTML table of texts; marked rows are highlighted."""
    marks = marked if marked is not None else [False] * len(rows)
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "\n".join(
        f"<tr{' class=best' if mark else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        for row, mark in zip(rows, marks, strict=True)
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
