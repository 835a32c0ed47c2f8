"""The page around a report: one HTML file with its style inside, and nothing fetched from anywhere.

Every function takes plain text and escapes it, but for `html=` arguments, which are markup already.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flame.lab import curves, timeline
from flame.lab.theme import NOTHING, VARIABLES, escape, number

STYLE = """\
*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:44px 30px 70px}
h1{font-size:28px;line-height:1.2;font-weight:650;letter-spacing:-.012em;margin:0;overflow-wrap:anywhere}
h2{font-size:18px;font-weight:650;margin:56px 0 16px}h3{font-size:13px;font-weight:600;margin:0 0 6px}
p{margin:0 0 10px}.mute{color:var(--mute)}small,.small{font-size:13px}
a{color:inherit;text-decoration-color:var(--faint);text-underline-offset:3px}
code,pre{font:13px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{background:var(--card);border-radius:6px;padding:14px 16px;margin:0;overflow:auto;max-height:460px}
.top{display:flex;gap:14px;align-items:baseline;flex-wrap:wrap;margin-bottom:6px}
.status{font-size:13px;font-weight:600;color:var(--good)}.status:before{content:"● "}
.status.bad{color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:20px 28px;margin:30px 0 0;
padding:22px 0;border:solid var(--rule);border-width:1px 0}
.tiles dt{font-size:13px;color:var(--mute);overflow-wrap:anywhere}
.tiles dd{margin:2px 0 0;font-size:25px;font-weight:600;line-height:1.25;letter-spacing:-.01em;
font-variant-numeric:tabular-nums}
.tiles dd small{display:block;font-size:13px;font-weight:400;color:var(--mute);letter-spacing:0}
.grid2{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:38px 48px}
.grid2>*{max-width:720px;min-width:0}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:6px 20px 6px 0;border-bottom:1px solid var(--rule);
vertical-align:top;overflow-wrap:break-word}
th{font-weight:500;color:var(--mute);white-space:nowrap}th.n,td.n{text-align:right}
th.n,td.n{white-space:nowrap}td:last-child,th:last-child{padding-right:0}
th button{all:unset;cursor:pointer}
th button:hover,th button:focus-visible{color:var(--ink);text-decoration:underline}
th[aria-sort=ascending] button:after{content:" ↑"}th[aria-sort=descending] button:after{content:" ↓"}
.scroll{overflow:auto;max-height:640px}.scroll thead th{position:sticky;top:0;background:var(--page)}
.share{display:block;height:6px;border-radius:3px;margin-top:7px;min-width:1px}.share-cell{width:26%;min-width:90px}
.legend{display:flex;flex-wrap:wrap;gap:4px 20px;font-size:13px;color:var(--mute);margin-bottom:12px}
.legend i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:7px;vertical-align:-1px}
.failure{background:var(--bad-card);border-left:3px solid var(--bad);border-radius:4px;
padding:16px 20px;margin:26px 0 0}
.failure pre{background:none;padding:8px 0 0}.bad{color:var(--bad)}
.side{display:flex;flex-wrap:wrap;gap:28px 56px;align-items:flex-start}.side>.drawing{max-width:100%}
.side>.scroll{flex:1 1 300px;max-width:460px}.drawing{overflow:auto}.drawing svg{max-width:100%;height:auto}
details{margin-top:18px}summary{cursor:pointer;font-size:13px;color:var(--mute)}summary:hover{color:var(--ink)}
details>*+*{margin-top:12px}
@media(max-width:640px){main{padding:26px 16px 50px}.wide-art{overflow-x:auto}.wide-art>svg{min-width:760px}}
@media print{main{padding:0}.scroll{max-height:none}section{break-inside:avoid}}
"""

_SORT = """\
for(const b of document.querySelectorAll("th button"))b.onclick=()=>{
const h=b.parentNode,t=h.closest("table").tBodies[0],i=h.cellIndex,up=h.ariaSort!="ascending",
k=r=>r.cells[i].dataset.v??r.cells[i].textContent;
for(const o of h.parentNode.cells)o.ariaSort=null;
h.ariaSort=up?"ascending":"descending";
[...t.rows].sort((a,b)=>{const x=k(a),y=k(b);
return(up?1:-1)*(x-y||x.localeCompare(y,void 0,{numeric:true}))}).forEach(r=>t.append(r))}
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: its text, what it is sorted by, or markup instead of the text."""

    text: str = ""
    key: float | None = None
    html: str = ""
    title: str = ""
    kind: str = ""


def quantity(value: float | None, text: str = "") -> Cell:
    """A cell that holds a number; None leaves it empty, a value that is not finite stands out."""
    if value is None:
        return Cell(NOTHING, key=-math.inf)
    finite = math.isfinite(value)
    return Cell(text or number(value), key=value if finite else -math.inf, kind="" if finite else "bad")


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], *, sortable: bool = False) -> str:
    """A table; a column whose first cell has a key is one of numbers and stands to the right."""
    body = list(rows)
    right = [bool(body) and at < len(body[0]) and body[0][at].key is not None for at in range(len(head))]
    titles = "".join(
        f'<th scope="col"{" class=n" if right[at] else ""}>'
        + (f'<button type="button">{escape(title)}</button>' if sortable else escape(title))
        + "</th>"
        for at, title in enumerate(head)
    )
    lines = "".join(f"<tr>{''.join(_cell(cell, right[at]) for at, cell in enumerate(row))}</tr>" for row in body)
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>'


def _cell(cell: Cell, right: bool) -> str:
    classes = " ".join(filter(None, ("n" if right else "", cell.kind)))
    mark = f' class="{classes}"' if classes else ""
    key = f' data-v="{_key(cell.key)}"' if cell.key is not None else ""
    title = f' title="{escape(cell.title)}"' if cell.title else ""
    return f"<td{mark}{key}{title}>{cell.html or escape(cell.text)}</td>"


def _key(value: float) -> str:
    return f"{value:.9g}" if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def tiles(items: Iterable[tuple[str, str, str]]) -> str:
    """Large numbers in a row: what, how much, and a remark."""
    cells = (
        f"<div><dt>{escape(what)}</dt><dd>{escape(much)}<small>{escape(remark)}</small></dd></div>"
        for what, much, remark in items
    )
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def section(title: str, html: str) -> str:
    """A section under a heading; nothing at all when there is nothing in it."""
    return f"<section><h2>{escape(title)}</h2>{html}</section>" if html else ""


def fold(title: str, html: str) -> str:
    """Markup that opens when its title is pressed."""
    return f"<details><summary>{escape(title)}</summary><div>{html}</div></details>"


def page(title: str, html: str) -> str:
    """The whole document. Its policy forbids every request, and every script but its own few lines."""
    script = _SORT if "<button" in html else ""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en" class="flame"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{VARIABLES}{STYLE}{curves.STYLE}{timeline.STYLE}</style></head>"
        f"<body><main>{html}</main>"
        f"{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )


def save(text: str, path: Path) -> Path:
    """Writes a page so that no half of it is ever seen under its name."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
    return path
