"""What `flame.run(...)` returns: a finished run, ready for a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from flame.errors import ConfigError, ExtensionError, RunError
from flame.lab import curves, history, page, summary
from flame.lab.curves import Chart
from flame.lab.history import Curve, History, Record
from flame.lab.theme import VARIABLES, escape, number, plural, seconds
from flame.weights import Weights, safetensors


class Plot:
    """Curves that show themselves in a notebook, and save themselves as SVG or HTML."""

    def __init__(self, charts: Sequence[Chart]) -> None:
        self.charts = tuple(charts)

    def save(self, path: str | Path) -> Path:
        """Writes an `.svg` or an `.html` file, each complete in itself.

        Raises:
            ConfigError: the path has another suffix.
        """
        path = Path(path)
        if path.suffix == ".svg":
            return page.save(self._repr_svg_(), path)
        if path.suffix in (".html", ".htm"):
            names = ", ".join(chart.title for chart in self.charts)
            return page.save(page.page(names, self._grid()), path)
        raise ConfigError(str(path), "is neither .svg nor .html", "give it one of these suffixes")

    def _grid(self) -> str:
        return f'<div class="grid2">{"".join(curves.draw(chart) for chart in self.charts)}</div>'

    def _repr_svg_(self) -> str:
        return curves.document(self.charts)

    def _repr_html_(self) -> str:
        columns = "display:grid;gap:32px;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr))"
        boxes = (f'<div style="max-width:640px">{curves.draw(chart)}</div>' for chart in self.charts)
        return _frame(f'<div style="{columns}">{"".join(boxes)}</div>')

    def __repr__(self) -> str:
        return f"Plot({', '.join(chart.title for chart in self.charts)})"


class Result:
    """A run directory, read when it is first asked for something.

    Attributes:
        dir: the run directory.
    """

    def __init__(self, dir: str | Path) -> None:
        self.dir = Path(dir)

    @cached_property
    def history(self) -> History:
        """Everything that the run left behind, but for its model."""
        return history.read(self.dir)

    @property
    def status(self) -> str:
        """`completed` or `failed`."""
        return str(self.history.facts.get("status") or "unfinished")

    @property
    def metrics(self) -> list[Record]:
        """One record per worker and round that measured something."""
        return list(self.history.records)

    def series(self, name: str, role: str | None = None) -> dict[str, Curve]:
        """A metric's (round, value) points in order of rounds, by worker; of one role only, if it is given.

        Raises:
            ExtensionError: nobody measured that metric; it lists the ones that there are.
        """
        roles = self.history.role_of
        return {w: list(c) for w, c in self._curves(name).items() if role is None or roles[w] == role}

    def final(self, name: str) -> float:
        """A metric's last value at the aggregator farthest from the data, else the mean of the sites'.

        Raises:
            ExtensionError: nobody measured that metric; it lists the ones that there are.
        """
        return summary.global_curve(self.history, self._curves(name))[-1][1]

    def experiments(self, name: str) -> dict[str, float]:
        """A metric's last value in each federation of a run of several that never meet, by its groups.

        Raises:
            ExtensionError: nobody measured that metric; it lists the ones that there are.
        """
        self._curves(name)
        return {label: curve[-1][1] for label, curve in summary.by_experiment(self.history, name).items()}

    def weights(self) -> Weights:
        """The final model, from `model.safetensors`.

        Raises:
            RunError: the run left no model.
        """
        path = self.dir / "model.safetensors"
        if not path.is_file():
            raise RunError(f"{self.dir} holds no model.safetensors: the run is {self.status}")
        return safetensors.read(path)

    def plot(self, *names: str) -> Plot:
        """The curves of some metrics, of all when none is named.

        Raises:
            ExtensionError: nobody measured one of them; it lists the ones that there are.
        """
        for name in names:
            self._curves(name)
        return Plot(summary.charts(self.history, names or None))

    def _curves(self, name: str) -> dict[str, Curve]:
        by_metric = self.history.by_metric
        if name not in by_metric:
            raise ExtensionError("metric", name, list(by_metric))
        return by_metric[name]

    def _facts(self) -> str:
        rounds, workers = self.history.fact("rounds"), self.history.fact("workers")
        parts = [self.status]
        parts += [plural(int(rounds), "round")] if math.isfinite(rounds) and not self.history.roundless else []
        parts += [plural(int(workers), "worker")] if math.isfinite(workers) else []
        parts += [seconds(self.history.fact("seconds"))]
        top = summary.headline(self.history)
        parts += [f"{top.name} {number(top.final)}"] if top else []
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"Result({str(self.dir)!r}: {self._facts()})"

    def _repr_html_(self) -> str:
        report = self.dir / "report.html"
        link = f' · <a href="{escape(report)}" style="color:inherit">report</a>' if report.is_file() else ""
        return _frame(
            f"<strong>{escape(self.history.name)}</strong>"
            f'<div style="color:var(--mute)">{escape(self._facts())}{link}</div>'
        )


def _frame(html: str) -> str:
    """Markup with its colours around it, on a ground that suits them whatever the notebook's own is."""
    look = "background:var(--page);color:var(--ink);padding:12px 14px;font:14px/1.5 system-ui,sans-serif"
    return f'<style>{VARIABLES}{curves.STYLE}</style><div class="flame" style="{look}">{html}</div>'
