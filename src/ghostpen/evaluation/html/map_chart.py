"""The style map: all texts as marks on a plane, the real author's as a shaded region."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from ghostpen.evaluation.html.charts import draw_mark
from ghostpen.evaluation.html.svg import LETTER, WIDTH, Chart, Scale, cut_name
from ghostpen.evaluation.specificity import MODEL_LABELS, name_model
from ghostpen.evaluation.style_shape import MapJson, MapPoint

HEIGHT = 356
INNER = 0.8  # of the real author's texts are in the shaded region
SHAPES = ("real", "other", "base", "control", "author")

Place = tuple[float, float]


def render_map(found: MapJson, *, author: str) -> Markup:
    """Draw the map. Shape and colour both tell whose a mark is."""
    points = found["points"]
    xs, ys = [point["x"] for point in points], [point["y"] for point in points]
    across, up = Scale(*_widen(xs), 14, WIDTH - 14), Scale(*_widen(ys), HEIGHT - 38, 36)
    chart = Chart(
        "map",
        height=HEIGHT,
        title=f"Style map of {author}, other authors and the models",
        description=_describe(points, author),
    )
    chart.add("rect", "frame", x=1, y=22, width=WIDTH - 2, height=HEIGHT - 46)
    placed = [(point["who"], point["name"], (across(point["x"]), up(point["y"]))) for point in points]
    region = find_hull(choose_inner([place for who, _, place in placed if who == "real"]))
    if len(region) > 1:
        chart.add("polygon", "region", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in region))
    for shape in SHAPES:
        for who, _, place in placed:
            if who == shape:
                draw_mark(chart, "others" if who == "other" else who, *place)
    _draw_way(chart, [[place for who, _, place in placed if who == end] for end in ("base", "author")])
    _write_labels(chart, placed, author)
    chart.write(
        cut_name(f"{found['x_axis']} \N{RIGHTWARDS ARROW}", width=WIDTH), "quiet", x=WIDTH, y=HEIGHT - 9, anchor="end"
    )
    chart.write(cut_name(f"\N{UPWARDS ARROW} {found['y_axis']}", width=WIDTH), "quiet", x=0, y=8)
    return chart.render()


def choose_inner(places: Sequence[Place]) -> list[Place]:
    """Choose the four fifths of the places that are nearest to their middle, so that a stray one makes no region."""
    if not places:
        return []
    middle = _find_middle(places)
    ordered = sorted(places, key=lambda place: math.dist(place, middle))
    return ordered[: math.ceil(INNER * len(ordered))]


def find_hull(places: Sequence[Place]) -> list[Place]:
    """Find the convex hull, counter-clockwise.

    Source: Andrew 1979, "Another efficient algorithm for convex hulls in two dimensions" (monotone chains).
    """
    ordered = sorted(set(places))
    if len(ordered) < 3:
        return ordered

    def build(chain: Sequence[Place]) -> list[Place]:
        hull: list[Place] = []
        for x, y in chain:
            while len(hull) > 1 and _turn(hull[-2], hull[-1], (x, y)) <= 0:
                hull.pop()
            hull.append((x, y))
        return hull[:-1]

    return [*build(ordered), *build(ordered[::-1])]


def _turn(one: Place, two: Place, three: Place) -> float:
    return (two[0] - one[0]) * (three[1] - one[1]) - (two[1] - one[1]) * (three[0] - one[0])


def _find_middle(places: Sequence[Place]) -> Place:
    return sum(x for x, _ in places) / len(places), sum(y for _, y in places) / len(places)


def _draw_way(chart: Chart, ends: Sequence[Sequence[Place]]) -> None:
    """Draw an arrow from the middle of the base model's marks to that of the adapter's: what the training moved."""
    if not all(ends):
        return
    (x1, y1), (x2, y2) = map(_find_middle, ends)
    length = math.dist((x1, y1), (x2, y2))
    if length < 24:  # too short to be seen, and to mean anything
        return
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    head = [(x2, y2), (x2 - 11 * dx + 6 * dy, y2 - 11 * dy - 6 * dx), (x2 - 11 * dx - 6 * dy, y2 - 11 * dy + 6 * dx)]
    for look in ("way halo", "way"):
        chart.add("line", look, x1=x1, y1=y1, x2=x2 - 8 * dx, y2=y2 - 8 * dy)
        chart.add("polygon", look, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in head))


def _widen(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    air = 0.08 * ((high - low) or 1.0)
    return low - air, high + air


def _write_labels(chart: Chart, placed: Sequence[tuple[str, str, Place]], author: str) -> None:
    """Name the groups, the important ones first; a name that would stand on another is left to the table."""
    groups: dict[tuple[str, str], list[Place]] = {}
    for who, name, place in placed:
        groups.setdefault((who, name if who == "other" else ""), []).append(place)
    names = {"real": f"real {author}"} | {label: name_model(label) for label in MODEL_LABELS}
    order = ("author", "base", "real", "control", "other")
    taken: list[tuple[float, float, float, float]] = [
        (x - 6, y - 6, x + 6, y + 6) for who, _, (x, y) in placed if who != "other"
    ]
    for who, name in sorted(groups, key=lambda key: order.index(key[0])):
        text = cut_name(names.get(who, name), width=150)
        for box in _find_boxes(groups[who, name], len(text) * LETTER):
            if not any(_overlap(box, other) for other in taken):
                taken.append(box)
                look = "halo quiet" if who == "other" else f"halo strong text {who}"
                chart.write(text, look, x=box[0], y=(box[1] + box[3]) / 2)
                break


def _find_boxes(places: Sequence[Place], width: float) -> list[tuple[float, float, float, float]]:
    """List where a group's name could stand: above, below, right and left of it, within the frame."""
    left, right = min(x for x, _ in places), max(x for x, _ in places)
    top, bottom = min(y for _, y in places), max(y for _, y in places)
    middle, centre = (left + right - width) / 2, (top + bottom) / 2
    starts = ((middle, top - 26), (middle, bottom + 10), (right + 11, centre - 8), (left - 11 - width, centre - 8))
    boxes = [(min(max(x, 5), WIDTH - width - 5), y) for x, y in starts]
    return [(x, y, x + width, y + 16) for x, y in boxes if 24 <= y <= HEIGHT - 44]


def _overlap(one: tuple[float, float, float, float], two: tuple[float, float, float, float]) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def _describe(points: Sequence[MapPoint], author: str) -> str:
    """Say how far the models' marks are, on average, from the middle of the real author's."""
    placed = {who: [(point["x"], point["y"]) for point in points if point["who"] == who] for who in SHAPES}
    middles = {who: _find_middle(places) for who, places in placed.items() if places}
    if "real" not in middles:
        return f"There is no mark of {author}."
    names = {"other": "the other authors"} | {label: f"the {name_model(label)}" for label in MODEL_LABELS}
    real = middles.pop("real")
    distances = {names[who]: math.dist(real, middle) for who, middle in middles.items()}
    listed = ", ".join(
        f"{name} {distance:.2f}" for name, distance in sorted(distances.items(), key=lambda item: item[1])
    )
    return f"Distance of the middles to the real {author}, nearest first: {listed}."
