"""Where every number comes from: seeds, windows, tokenizer, hashes, versions. Given report and manifest; no file."""

from collections.abc import Mapping, Sequence
from typing import Any

from ghostpen.evaluation.html.charts import render_percent
from ghostpen.evaluation.report_shape import Report
from ghostpen.evaluation.written import Written

HASH_LETTERS = 12


def render_conditions(report: Report, manifest: Mapping[str, Any]) -> str:
    """Render in one line under what conditions perplexities and gains were measured."""
    protocol = report["protocol"]
    return (
        f"Window {protocol['window']:,} tokens, stride {protocol['stride']:,}, tokenizer of {_name_base(manifest)}, "
        f"data {protocol['data_sha256'][:HASH_LETTERS]}, training seed {protocol['training_seed']}"
    )


def build_provenance(
    report: Report, manifest: Mapping[str, Any], *, written: Sequence[Written]
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Build groups of (what, value); what isn't known is left out."""
    protocol, specificity = report["protocol"], report["specificity"]
    measured = [
        ("window", f"{protocol['window']:,} tokens"),
        ("stride", f"{protocol['stride']:,} tokens"),
        ("number format", protocol["precision"] + (", weights in 4 bits" if protocol["load_in_4bit"] else "")),
        ("intervals", f"{render_percent(specificity['confidence_level'])} percentile bootstrap over sections"),
        ("bootstrap", f"{specificity['resamples']:,} draws, seed {specificity['seed']}"),
        *(
            (
                f"held-out text, {name}",
                f"{text['sections']:,} sections, {text['tokens']:,} tokens, {text['size_bytes']:,} bytes",
            )
            for name, text in ((report["author"], report["author_test"]), ("others", report["others_test"]))
        ),
    ]
    if written:
        seeds, heats = {text.seed for text in written}, sorted({text.temperature for text in written})
        span = f"seed {min(seeds)}" if len(seeds) == 1 else f"seeds {min(seeds)} to {max(seeds)}"
        measured.append(("written texts", f"{len(written):,}"))
        measured.append(("sampling", f"{span}, temperature {' or '.join(f'{heat:g}' for heat in heats)}"))
    for name, value in protocol["generation"].items():
        measured.append((f"writing, {name.replace('_', ' ')}", f"{value}"))
    if (copying := report["copying"]) is not None:
        measured.append(("samples looked at for copies", f"{copying['training']['samples']:,}"))
    base = manifest.get("base_model") or {}
    trained = [
        ("training seed", f"{protocol['training_seed']}"),
        ("base model and tokenizer", _name_base(manifest)),
        *(
            (f"base model, {key.replace('_', ' ')}", f"{base[key]}")
            for key in ("loaded_name", "weights_sha256", "revision")
            if base.get(key)
        ),
        ("tokenizer, sha256", report["tokenizer_sha256"] or "not known"),
        ("data, sha256", protocol["data_sha256"]),
        ("other authors’ data, sha256", protocol["contrast_sha256"]),
        *((f"adapter, {name}, sha256", digest) for name, digest in protocol["adapters_sha256"].items()),
        *(
            (name.replace("_", " "), f"{manifest[name]}")
            for name in ("run_id", "device", "processes")
            if manifest.get(name)
        ),
    ]
    made = [
        (name.replace("_", " "), f"{manifest[name]}")
        for name in ("ghostpen_version", "git_commit")
        if manifest.get(name)
    ]
    made += [(name, f"{version}") for name, version in (manifest.get("package_versions") or {}).items()]
    groups = [("What was trained", trained), ("How it was measured", measured), ("With which programs", made)]
    return [(title, rows) for title, rows in groups if rows]


def _name_base(manifest: Mapping[str, Any]) -> str:
    base = manifest.get("base_model") or {}
    return str(base.get("name") or "the base model")
