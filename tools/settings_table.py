"""Write the table of settings in docs/training.md from the fields of a run's config.

.venv/bin/python tools/settings_table.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ghostpen.config import RunConfig
from ghostpen.settings import list_settings

PAGE = Path(__file__).parents[1] / "docs/training.md"
BEGIN, END = "<!-- tools/settings_table.py writes from here -->\n", "<!-- to here -->\n"


def render_settings() -> str:
    """Render every setting with its default and its text, as Markdown."""
    rows = ["| setting | default | |\n", "|---|---|---|\n"]
    for key, field in list_settings(RunConfig).items():
        default = (
            "**must be set**" if field.is_required() else f"`{_render(field.get_default(call_default_factory=True))}`"
        )
        text = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{key}` | {default} | {text} |\n")
    return "".join(rows)


def _render(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    return "None" if value is None else json.dumps(value)


def replace_table(page: str) -> str:
    """Put the table between the page's two marks."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + render_settings() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(replace_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
