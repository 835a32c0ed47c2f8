"""Drawings of a TAG: its roles and channels, or its workers and who meets whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flame.errors import ExtensionError
from flame.tag.draw import mermaid, svg, text
from flame.tag.draw.picture import Picture, of_roles, of_workers, printable
from flame.tag.expand import WorkerSpec
from flame.tag.schema import Tag

FORMS: Mapping[str, Callable[[Picture], str]] = {
    "text": text.render,
    "mermaid": mermaid.render,
    "svg": svg.render,
}


def draw(tag: Tag, form: str = "text", workers: Sequence[WorkerSpec] | None = None) -> str:
    """A drawing of a TAG, the root at the top and the data at the bottom.

    Args:
        tag: the TAG; a broken one is drawn as far as it goes.
        form: `text` for a terminal, `mermaid`, or `svg`: one element, for a light or a dark page.
        workers: with them (as `expand` gives them) the workers are drawn, equal ones as one box, else the
            roles.

    Raises:
        ExtensionError: there is no such form.
    """
    if form not in FORMS:
        raise ExtensionError("form of drawing", form, sorted(FORMS))
    picture = of_roles(tag) if workers is None else of_workers(tag, workers)
    return FORMS[form](printable(picture))
