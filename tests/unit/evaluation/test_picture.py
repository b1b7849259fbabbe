from pathlib import Path

from PIL import Image
from tests.pictures import CONTROL, METRICS, build_row, read_colors

from ghostpen.evaluation.picture import write_specificity_picture
from ghostpen.evaluation.report_shape import Report
from ghostpen.training.curve import write_perplexity_curve


def test_write_specificity_picture_is_1400_pixels_wide_on_white(report: Report, tmp_path: Path) -> None:
    write_specificity_picture(report, tmp_path / "a.png", metrics=METRICS, control_metrics=CONTROL)

    with Image.open(tmp_path / "a.png") as image:
        assert image.width == 1400
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        assert image.info.keys() <= {"dpi"}  # neither a date nor a version


def test_pictures_drawn_twice_are_the_same_bytes(report: Report, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_perplexity_curve(METRICS, tmp_path / f"curve-{name}.png", author="A", control_metrics=CONTROL)
        write_specificity_picture(report, tmp_path / f"{name}.png", metrics=METRICS)

    assert (tmp_path / "curve-a.png").read_bytes() == (tmp_path / "curve-b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert len(list(tmp_path.iterdir())) == 4


def test_write_specificity_picture_changes_with_the_finding(report: Report, tmp_path: Path) -> None:
    write_specificity_picture(report, tmp_path / "specific.png", metrics=METRICS)
    report["finding"] = "unclear"
    write_specificity_picture(report, tmp_path / "unclear.png", metrics=METRICS)

    assert (tmp_path / "specific.png").read_bytes() != (tmp_path / "unclear.png").read_bytes()


def test_write_specificity_picture_of_losses_without_intervals_is_drawn(report: Report, tmp_path: Path) -> None:
    for model in report["author_test"]["models"].values():
        model["gain_over_base"] = {"estimate": -0.01, "low": None, "high": None}
    report["specificity"]["s"] = {"estimate": -0.01, "low": None, "high": None}
    report["finding"] = "too_little_text"
    report["author"] = "A name with $dollars$ that is far too long for a picture of this size"

    write_specificity_picture(report, tmp_path / "a.png", metrics=[build_row("val", step=0, perplexity=31.0)])

    assert (11, 87, 164) in read_colors(tmp_path / "a.png")
