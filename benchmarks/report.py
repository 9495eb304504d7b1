"""What was measured, as a table and as a picture."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles

from benchmarks.plan import P99_BAR, Comparison

HEAD = ["job", "against", "how", "rate", "bar", "p99", "queries", "ms", "missed"]


@dataclass(frozen=True)
class Result:
    """Both sides of a comparison on one database, round by round."""

    comparison: Comparison
    #: "sqlite", "postgresql", or either "over a socket".
    how: str
    #: Rates, in requests per second, a round each.
    rates: list[float]
    against_rates: list[float]
    #: Seconds, a request each.
    seconds: list[float]
    against_seconds: list[float]
    #: The mean of a request; None over a socket.
    queries: float | None = None
    against_queries: float | None = None

    @property
    def ratio(self) -> float:
        """The median over the rounds of this rate by the other."""
        return median(ours / other for ours, other in zip(self.rates, self.against_rates, strict=True))

    @property
    def p99_ratio(self) -> float:
        """How many times longer the 99th percentile is than the other's."""
        return _p99(self.seconds) / _p99(self.against_seconds)

    @property
    def missed(self) -> list[str]:
        """The bars that it does not reach."""
        if self.queries is None:
            return []  # the machine has no cores to spare for a load generator
        comparison, missed = self.comparison, []
        if comparison.bar is not None and self.ratio < comparison.bar:
            missed.append("rate")
        if comparison.bar is not None and self.p99_ratio > P99_BAR:
            missed.append("p99")
        if comparison.most_queries is not None and self.queries > comparison.most_queries:
            missed.append("queries")
        return missed

    @property
    def label(self) -> str:
        return f"{self.comparison.group}: {self.comparison.job.name}"

    def row(self) -> list[str]:
        comparison = self.comparison
        queries = "" if self.queries is None else f"{self.queries:g} / {self.against_queries:g}"
        return [
            self.label,
            comparison.against.name,
            self.how,
            f"{self.ratio:.2f}",
            "" if comparison.bar is None or self.queries is None else f"{comparison.bar:.2f}",
            "" if comparison.job.hashes_slowly else f"{self.p99_ratio:.2f}",
            queries,
            f"{median(self.seconds) * 1000:.2f} / {median(self.against_seconds) * 1000:.2f}",
            " ".join(self.missed),
        ]


def _p99(seconds: list[float]) -> float:
    return quantiles(seconds, n=100)[-1]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the first of which is the head, as a table in Markdown."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def machine() -> str:
    """Return what has measured."""
    names = (
        "django",
        "django-oauth-toolkit",
        "oauthlib",
        "djangorestframework",
        "pyjwt",
        "cryptography",
        "jwcrypto",
    )
    others = ("djangorestframework-simplejwt", "django-rest-knox")
    versions = ", ".join(f"{name} {version(name)}" for name in (*names, *others))
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"Python {platform.python_version()}, {versions}; {os.cpu_count()} cores, {processor}"


def draw(results: Sequence[Result], path: Path) -> None:
    """Draw the ratios with their bars into an SVG file, a panel for each database."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9})
    labels = list(dict.fromkeys(result.label for result in results if result.comparison.bar is not None))
    panels = [how for how in dict.fromkeys(result.how for result in results) if "socket" not in how]
    figure = Figure(figsize=(4.5 + 3.5 * len(panels), 1 + 0.27 * len(labels)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, how in zip(axes, panels, strict=True):
        for result in results:
            if result.how == how and result.comparison.bar is not None:
                position = labels.index(result.label)
                reached = result.ratio >= result.comparison.bar
                axis.barh(position, result.ratio, color="#4878a8" if reached else "#c44e52")
                axis.plot([result.comparison.bar] * 2, [position - 0.45, position + 0.45], color="black")
        axis.axvline(1, color="grey", linewidth=0.8, linestyle=":")
        axis.set_title(how)
        axis.set_xlabel("rate, as a multiple of the other's")
        axis.set_yticks(range(len(labels)), labels)
    axes[0].invert_yaxis()
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
