import polars as pl
import pytest

from retort.offline.data.attributes import infer_type


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", None, "-20"], [1, None, -20]),
        (["1.5", "2.0"], [1.5, 2.0]),
        (["1999.0", "2001.0"], [1999, 2001]),
        ([1999.0, None, float("nan")], [1999, None, None]),
        (["True", "false", ""], [True, False, None]),
        # codes stay what they are
        (["007", "12"], ["007", "12"]),
        (["1e5", "2"], ["1e5", "2"]),
        (["1", "many"], ["1", "many"]),
        ([" a ", " "], ["a", None]),
        ([["x", "y"], None], [["x", "y"], None]),
        ([[1, 2]], [["1", "2"]]),
        ([{"a": 1}], ['{"a":1}']),
    ],
)
def test_columns_take_their_natural_type(values: list[object], expected: list[object]) -> None:
    assert infer_type(pl.Series(values)).to_list() == expected


@pytest.mark.parametrize(
    ("value", "separator", "expected"),
    [
        ("A|B", "|", ["A", "B"]),
        ("Beauty > Skin Care > Face", ">", ["Beauty", "Skin Care", "Face"]),
        ("Beauty > Skin Care", " > ", ["Beauty", "Skin Care"]),
        ("Drama War", " ", ["Drama", "War"]),
        ("|A||", "|", ["A"]),
        ("|", "|", None),
        (" ", "|", None),
    ],
)
def test_separated_values_become_lists(value: str, separator: str, expected: list[str] | None) -> None:
    assert infer_type(pl.Series([value]), separator).to_list() == [expected]


def test_dates_become_text() -> None:
    days = pl.Series(["2021-03-04"]).str.to_date()
    assert infer_type(days).to_list() == ["2021-03-04"]
