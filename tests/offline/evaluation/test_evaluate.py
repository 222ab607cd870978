import numpy as np
import pytest
import torch

from retort.offline.common.progress import Silent
from retort.offline.data.ragged import Ragged
from retort.offline.data.split import Cases
from retort.offline.evaluation.evaluate import (
    EvaluationConfig,
    GraphRanker,
    PopularityRanker,
    count_seen_targets,
    evaluate,
    seen_targets_sentence,
    slice_metrics,
    summarise,
    tabulate_ranks,
)
from retort.offline.evaluation.validate import validation_ranks
from retort.offline.export.onnx import export_student
from retort.offline.students import sasrec
from retort.shared.model.scoring import Scorer
from tests.offline._worlds import ring

SPLIT = ring(n_items=30, n_users=80)
CONFIG = EvaluationConfig(k=(10, 5), subsets=("clean",))


def test_graph_ranks_equal_torch_ranks() -> None:
    torch.manual_seed(0)
    student = sasrec.Model(sasrec.Config(embedding_dim=16, max_length=6), 30).eval()
    ranker = GraphRanker(Scorer(export_student(student), n_items=30, max_length=6))
    by_graph = evaluate(ranker, SPLIT.test, CONFIG, Silent(), "test").ranks_U
    by_torch = validation_ranks(student, SPLIT.test)
    assert (np.where(by_torch <= 10, by_torch, 0) == by_graph).mean() > 0.98  # near ties may fall either way


@pytest.mark.parametrize("hide_seen", [True, False])
@pytest.mark.parametrize("last_items", [None, 2])
def test_validation_ranks_equal_the_ranks_of_the_graph_on_the_same_cases(
    *, hide_seen: bool, last_items: int | None
) -> None:
    torch.manual_seed(0)
    student = sasrec.Model(sasrec.Config(embedding_dim=16, max_length=6), 30).eval()
    ranker = GraphRanker(Scorer(export_student(student), n_items=30, max_length=6))
    config = EvaluationConfig(k=(30,), hide_seen=hide_seen, last_items=last_items)
    by_graph = evaluate(ranker, SPLIT.validation, config, Silent(), "validation").ranks_U
    by_torch = validation_ranks(student, SPLIT.validation, config)
    assert (by_torch == by_graph).mean() > 0.98  # near ties may fall either way
    assert (by_torch.max() > 24) == (not hide_seen), "six of thirty items are seen"
    whole = validation_ranks(student, SPLIT.validation, EvaluationConfig(hide_seen=hide_seen))
    assert np.array_equal(by_torch, whole) == (last_items is None)


def test_popularity_ranks_by_train_events_without_hidden_items() -> None:
    popularity = np.array([0, 5, 9, 1, 7])
    lists = PopularityRanker(popularity).top_k([np.array([2])], 3, [np.array([2])], np.array([0]))
    assert lists.tolist() == [[4, 1, 3]]
    lists = PopularityRanker(popularity).top_k([np.array([2])], 5, [np.array([2, 4])], np.array([0]))
    assert lists.tolist() == [[1, 3, 0, 0, 0]]


def test_seen_items_are_hidden_unless_the_config_shows_them() -> None:
    ranker = PopularityRanker(np.bincount(SPLIT.train.values, minlength=31))
    hidden = evaluate(ranker, SPLIT.test, CONFIG, Silent(), "test")
    shown = evaluate(ranker, SPLIT.test, EvaluationConfig(k=(10,), hide_seen=False), Silent(), "test")
    assert not any(
        set(items) & set(history) for items, history in zip(hidden.items_UK, SPLIT.test.histories, strict=True)
    )
    assert (shown.items_UK == shown.items_UK[0]).all()


def test_slices_sum_to_the_metrics_of_all_cases() -> None:
    ranker = PopularityRanker(np.bincount(SPLIT.train.values, minlength=31))
    evaluation = evaluate(ranker, SPLIT.test, CONFIG, Silent(), "test")
    whole = summarise(evaluation, CONFIG, 30)
    clean = np.arange(80) % 2 == 0
    parts = slice_metrics(evaluation, SPLIT.test, SPLIT, CONFIG, {"clean": clean})
    for kind in ("history", "popularity"):
        named = {name: part for name, part in parts.items() if name.startswith(kind)}
        assert sum(part["cases"] for part in named.values()) == len(SPLIT.test)
        hits = sum(part["cases"] * part.get("hr@10", 0.0) for part in named.values())
        assert hits / len(SPLIT.test) == pytest.approx(whole["hr@10"])
    assert parts["subset clean"]["cases"] == 40
    assert len(tabulate_ranks(evaluation, SPLIT.test, SPLIT)) == len(SPLIT.test)


def test_targets_that_hiding_makes_misses_are_counted() -> None:
    users, targets = np.arange(5), np.array([2, 9, 0, 3, 4])
    histories = Ragged(np.array([1, 2, 2, 1, 0, 4, 3]), np.array([0, 3, 4, 5, 5, 7]))
    cases = Cases(users, histories, targets)
    assert count_seen_targets(cases) == 2
    hidden = evaluate(PopularityRanker(np.arange(10)[::-1]), cases, EvaluationConfig(k=(9,)), Silent(), "test")
    assert [bool(rank) for rank in hidden.ranks_U] == [False, True, False, True, False]
    assert seen_targets_sentence(2, 5).startswith("2 of 5 test targets")
    assert seen_targets_sentence(0, 5) == ""
