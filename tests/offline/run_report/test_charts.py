"""Charts are well-formed SVG whose marks lie where the values are."""

from xml.etree import ElementTree

import pytest

from retort.offline.run_report.charts import Interval, Series, bar_chart, forest_plot, line_chart, scatter_plot


def marks(svg: str, tag: str) -> list[dict[str, str]]:
    return [dict(element.attrib) for element in ElementTree.fromstring(svg).iter(tag)]


def test_a_line_rises_where_its_values_do_and_names_are_escaped() -> None:
    svg = line_chart([Series("a & b", [(0, 1.0), (1, 2.0), (2, 4.0)]), Series("c", [(0, 0.5)])], "T<", "x", "y")
    dots = [(float(dot["cx"]), float(dot["cy"])) for dot in marks(svg, "circle")]
    assert [x for x, _ in dots[:3]] == sorted(x for x, _ in dots[:3])
    assert [y for _, y in dots[:3]] == sorted((y for _, y in dots[:3]), reverse=True)
    assert ElementTree.fromstring(svg).attrib["aria-label"] == "T<"


def test_bars_are_as_high_as_their_values() -> None:
    heights = [float(bar["height"]) for bar in marks(bar_chart([("1", 10.0), ("2", 40.0)], "T", "n"), "rect")]
    assert heights[1] == pytest.approx(4 * heights[0], rel=0.01)


def test_intervals_that_contain_zero_cross_its_line() -> None:
    svg = forest_plot([Interval("with <texts>", 5.0, -2.0, 12.0), Interval("other", 8.0, 3.0, 13.0)], "T", "%")
    zero, *lines = marks(svg, "line")
    at = float(zero["x1"])
    assert float(lines[0]["x1"]) < at < float(lines[0]["x2"])
    assert at < float(lines[1]["x1"])


def test_points_of_unnamed_groups_are_grey() -> None:
    svg = scatter_plot([(0, 0, 0, "a"), (1, 1, 1, "b")], ["jazz"], "T")
    assert [point["class"] for point in marks(svg, "circle")] == ["dot g0", "dot other", "dot g0"]


@pytest.mark.parametrize("draw", [lambda: line_chart([], "T", "x", "y"), lambda: bar_chart([], "T", "y")])
def test_nothing_is_said_to_be_nothing(draw: object) -> None:
    assert "nothing to draw" in draw()  # type: ignore[operator]


def test_equal_values_are_drawn() -> None:
    assert "<polyline" in line_chart([Series("a", [(1, 0.0), (2, 0.0)])], "T", "x", "y")
    assert "<circle" in scatter_plot([(1, 1, 0, "a"), (1, 1, 0, "b")], ["g"], "T")
