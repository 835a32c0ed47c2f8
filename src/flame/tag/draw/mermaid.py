"""A picture as a Mermaid flowchart, for Markdown pages."""

from __future__ import annotations

import json

from flame.tag.draw.picture import Picture


def render(picture: Picture) -> str:
    """The picture in Mermaid's language."""
    title = json.dumps(_escaped(picture.title), ensure_ascii=False)  # JSON text is YAML text too
    lines = [f"---\ntitle: {title}\n---", "flowchart TB"]
    for i, box in enumerate(picture.boxes):
        opening, closing = ("[(", ")]") if box.has_data else ("[", "]")
        name = "<br/>".join(_escaped(text) for text in (box.title, *box.lines))
        lines.append(f'  n{i}{opening}"{name}"{closing}')
    for line in picture.lines:
        upper, lower = line.ends
        told = [line.name, line.groups]
        if line.tags[0] or line.tags[1]:
            told.append(line.tags[0] if upper == lower else f"{line.tags[0]} ↔ {line.tags[1]}")
        label = "<br/>".join(_escaped(text) for text in told if text)
        lines.append(f'  n{upper} ---|"{label}"| n{lower}')
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    safe = text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    return " ".join(safe.split())
