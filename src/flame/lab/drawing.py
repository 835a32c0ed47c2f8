"""The TAG of a run, drawn into its report."""

from __future__ import annotations

import json
from collections.abc import Iterator

from flame.errors import ConfigError, TagError
from flame.lab.history import History
from flame.lab.theme import escape
from flame.tag import WorkerSpec, draw
from flame.tag import read as read_tag

_MAX_CONFIGS = 20_000_000  # bytes of configs that are worth reading for a drawing
_MAX_ART = 150_000  # letters of a drawing that is worth its place on the page


def drawing(run: History, beside: str) -> str:
    """The TAG as SVG, beside it its workers where they form several groups, and more markup beside that."""
    path = run.path / "tag.json"
    if not path.is_file() or not path.stat().st_size:
        return beside
    try:
        tag = read_tag(path)
    except TagError as fault:
        return f'<p class="mute small">The TAG cannot be drawn: {escape(fault)}</p>{beside}'
    arts = [draw(tag, "svg")]
    specs = list(_specs(run))
    if len({(spec.role, *sorted(spec.group_association.items())) for spec in specs}) > len(tag.roles):
        arts.append(draw(tag, "svg", specs))
    drawn = "".join(f'<div class="drawing">{art}</div>' for art in arts if len(art) < _MAX_ART)
    return f'<div class="side">{drawn}{beside}</div>'


def _specs(run: History) -> Iterator[WorkerSpec]:
    """The workers, from their resolved configs; none when those are too many, or fewer than the run had."""
    path = run.path / "configs.jsonl"
    if not path.is_file() or path.stat().st_size > _MAX_CONFIGS:
        return
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    if len(lines) != run.fact("workers"):
        return
    for line in lines:
        try:
            config = json.loads(line)
            groups = {str(channel): str(group) for channel, group in (config["groupAssociation"] or {}).items()}
            yield WorkerSpec(config["taskid"], config["role"], groups, config.get("dataset") or "", "")
        except (ValueError, KeyError, TypeError, AttributeError) as fault:
            raise ConfigError(str(path), f"is damaged: {fault}", "run the federation again") from fault
