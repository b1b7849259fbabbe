from collections.abc import Callable
from typing import Any

import pytest
from tests.pictures import CONTROL, METRICS
from tests.reports import HELD_OUT, MANIFEST, TRAINING, build_style, build_writing, build_written

from ghostpen.evaluation.copying import Sample
from ghostpen.evaluation.copying_report import build_copying_report
from ghostpen.evaluation.html.page import render_html
from ghostpen.evaluation.report_shape import Report


@pytest.fixture
def full_report(report: Report) -> Report:
    """The report with the parts that it may have: what the adapter copies, and its style."""
    report["copying"] = build_copying_report(
        [Sample(text.text, prompt=text.prompt) for text in build_written() if text.model == "author"],
        training=TRAINING,
        continued=HELD_OUT,
        held_out=HELD_OUT,
        others=[],
    )
    report["protocol"]["adapters_sha256"] = {"control": "c" * 64, "author": "a" * 64}
    report["style"] = build_style()
    report["written"] = build_writing()
    return report


@pytest.fixture
def render(full_report: Report) -> Callable[..., str]:
    """Render the page of the full report, with what a test changes."""

    def render_page(**changes: Any) -> str:
        given = {
            "metrics": METRICS,
            "control_metrics": CONTROL,
            "written": build_written(),
            "training": TRAINING,
            "manifest": MANIFEST,
        }
        return render_html(full_report, **(given | changes))

    return render_page
