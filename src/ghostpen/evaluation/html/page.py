"""Put the page together: `render_html` decides what stands where, `write_html` writes it into the run's folder.

Every text and name on the page is untrusted: an author's text may hold anything. The template escapes what it writes,
the script puts no such text into the page, and the page's policy lets a browser run that script and fetch nothing.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ghostpen.data.sections import Section
from ghostpen.evaluation.copying import Sample
from ghostpen.evaluation.html.charts import render_percent
from ghostpen.evaluation.html.copies import find_copies
from ghostpen.evaluation.html.copying_figures import build_copying, build_writing
from ghostpen.evaluation.html.figures import (
    build_curves,
    build_parts,
    build_specificity,
    build_summary,
    render_numbers,
)
from ghostpen.evaluation.html.game import plan_rounds, render_outcome
from ghostpen.evaluation.html.provenance import build_provenance, render_conditions
from ghostpen.evaluation.html.samples import Comparison, choose_comparisons, choose_pairs, read_comparisons
from ghostpen.evaluation.html.style import build_cards, build_map, render_marks
from ghostpen.evaluation.html.words import render_perplexity_sentence, render_state
from ghostpen.evaluation.report_shape import Report
from ghostpen.evaluation.specificity import name_model
from ghostpen.evaluation.written import Written
from ghostpen.files import write_text_atomically
from ghostpen.training.curve import MetricsRow

FOLDER = Path(__file__).parent


def write_html(
    report: Report,
    path: Path,
    *,
    metrics: Sequence[MetricsRow],
    control_metrics: Sequence[MetricsRow],
    written: Sequence[Written],
    training: Sequence[Section] = (),
    manifest: Mapping[str, Any] | None = None,
) -> None:
    """Write the page of a test into the run's folder, whole or not at all.

    Args:
        report: the test's report.
        path: the page, in the run's folder: the samples of the training are read beside it.
        metrics: the author run's rows of metrics.jsonl. control_metrics: the control run's.
        written: what the models wrote for the test; of none, the training's own samples are shown.
        training: the author's training text, to mark in a sample what it copies; without it nothing is marked.
        manifest: of the author's run; None leaves out what only it knows.

    Raises:
        OSError: the folder is missing or cannot be written to.
    """
    html = render_html(
        report,
        metrics=metrics,
        control_metrics=control_metrics,
        written=written,
        training=training,
        manifest=manifest,
        comparisons=[] if written else read_comparisons(path.parent / "samples"),
    )
    write_text_atomically(html, path)


def render_html(
    report: Report,
    *,
    metrics: Sequence[MetricsRow] = (),
    control_metrics: Sequence[MetricsRow] = (),
    written: Sequence[Written] = (),
    training: Sequence[Section] = (),
    manifest: Mapping[str, Any] | None = None,
    comparisons: Sequence[Comparison] = (),
) -> str:
    """Render the page; the same report gives the same page, byte for byte.

    Args:
        manifest: of the author's run; None leaves out what only it knows.
        comparisons: what to show where there is no written set.
    """
    style = report["style"]
    own = [text for text in written if text.model == "author"]
    seed = report["protocol"]["training_seed"]
    pairs = choose_pairs(own)
    rounds = plan_rounds(pairs, seed=seed)
    copies = find_copies([Sample(text.text, prompt=text.prompt) for text in own], training)
    conditions = render_conditions(report, manifest or {})
    css, script = (FOLDER / "page.css").read_text("utf-8"), (FOLDER / "page.js").read_text("utf-8")
    return _load_template().render(
        report=report,
        author=report["author"],
        state=render_state(report),
        summary=build_summary(report),
        perplexity_sentence=render_perplexity_sentence(report),
        s=render_numbers(report),
        curves=build_curves(metrics, control_metrics, author=report["author"]),
        gains=build_specificity(report),
        parts=build_parts(report),
        map=build_map(style, author=report["author"]) if style else None,
        marks=render_marks(style) if style else {},
        cards=build_cards(style, author=report["author"]) if style else [],
        rounds=rounds,
        outcomes=[render_outcome(right, len(rounds)) for right in range(len(rounds) + 1)] if rounds else [],
        seed=seed,
        comparisons=choose_comparisons(written, hidden=pairs if rounds else ()) if written else list(comparisons),
        copying=report["copying"],
        coverage=build_copying(report["copying"]) if report["copying"] else None,
        writing=build_writing(report),
        copies=copies,
        conditions=conditions,
        provenance=build_provenance(report, manifest or {}, written=written),
        css=Markup(css),
        script=Markup(script),
        css_hash=_hash(css),
        script_hash=_hash(script),
    )


@cache
def _load_template() -> Any:
    environment = Environment(
        loader=PackageLoader("ghostpen.evaluation", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = "{:,}".format
    environment.filters["name_model"] = name_model
    environment.filters["percent"] = render_percent
    return environment.get_template("page.html.j2")


def _hash(text: str) -> str:
    """Hash an inline style sheet or script as the page's policy names it: between its tags, to the byte."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
