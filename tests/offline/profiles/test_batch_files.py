"""Batch files: prompts out, results in by custom_id, in rounds, in any order, with gaps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retort.offline.common.progress import Silent
from retort.offline.profiles import batch_files
from retort.offline.profiles.batch_files import Round, batch_round
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.profiles.store import ProfileStore
from retort.shared.base.errors import ProfileError
from tests.offline.profiles._fakes import GOOD, catalogue, histories, sqlite_store


@pytest.fixture
def store(tmp_path: Path) -> ProfileStore:
    return sqlite_store(tmp_path)


@pytest.fixture
def play(tmp_path: Path, store: ProfileStore) -> Callable[..., Round]:
    def one_round(*results: Path, n_users: int = 5, length: int = 6, **given: Any) -> Round:
        context = given.pop("context_tokens", 8192)
        config = ProfilesConfig(domain="movies", **given)
        target = tmp_path / f"round-{len(list(tmp_path.glob('round-*')))}.jsonl"
        return batch_round(
            histories(n_users, length), catalogue(), config, store, Silent(), model="m", results=results, target=target,
            context_tokens=context,
        )  # fmt: skip

    return one_round


def asked(found: Round) -> list[dict[str, Any]]:
    return [json.loads(line) for path in found.files for line in path.read_text().splitlines()]


def answer(path: Path, lines: list[dict[str, Any]], text: str = GOOD) -> Path:
    """What a service makes of a batch file, in another order."""
    said = [
        {
            "id": f"batch_req_{number}",
            "custom_id": line["custom_id"],
            "response": {
                "status_code": 200,
                "request_id": "r",
                "body": {
                    "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 11, "completion_tokens": 7},
                },
            },
            "error": None,
        }
        for number, line in enumerate(reversed(lines))
    ]
    path.write_text("\n".join(json.dumps(one) for one in said))
    return path


def test_what_goes_out_comes_back_in(play: Callable[..., Round], store: ProfileStore, tmp_path: Path) -> None:
    first = play()
    lines = asked(first)
    assert (first.n_waiting, first.report.written, first.report.failed) == (5, 0, 0)
    assert {line["url"] for line in lines} == {"/v1/chat/completions"}
    assert lines[0]["body"]["model"] == "m"
    assert "user-" not in json.dumps(lines)
    assert asked(play()) == lines, "asking twice asks the same"
    # the service lost one line
    second = play(answer(tmp_path / "results.jsonl", lines[:4]))
    assert (second.report.written, second.n_waiting, second.report.prompt_tokens) == (4, 1, 44)
    assert asked(second) == lines[4:]
    third = play(answer(tmp_path / "rest.jsonl", lines[4:]))
    assert (third.report.written, third.report.reused, third.n_waiting, third.files) == (1, 4, 0, ())
    assert store.count() == 5


def test_long_histories_take_as_many_rounds_as_they_have_steps(play: Callable[..., Round], tmp_path: Path) -> None:
    long = {"n_users": 1, "length": 60, "context_tokens": 1200, "max_output_tokens": 100}
    results: list[Path] = []
    for number in range(6):
        found = play(*results, **long)
        if not found.n_waiting:
            break
        results.append(answer(tmp_path / f"results-{number}.jsonl", asked(found)))
    assert found.report.written == 1
    assert number >= 2, "the parts first, then what merges them"


def test_rejected_replies_are_requested_again_in_the_next_round(play: Callable[..., Round], tmp_path: Path) -> None:
    first = play(n_users=1)
    results = [answer(tmp_path / "bad.jsonl", asked(first), text="")]
    second = play(*results, n_users=1)
    assert (second.n_waiting, second.report.failed) == (1, 0)
    assert asked(second)[0]["custom_id"] != asked(first)[0]["custom_id"]
    results.append(answer(tmp_path / "good.jsonl", asked(second)))
    assert play(*results, n_users=1).report.written == 1


def test_a_failed_line_is_requested_again(play: Callable[..., Round], tmp_path: Path) -> None:
    (line,) = asked(play(n_users=1))
    path = tmp_path / "failed.jsonl"
    path.write_text(json.dumps({"custom_id": line["custom_id"], "response": {"status_code": 500, "body": {}}}))
    assert play(path, n_users=1).n_waiting == 1


_EXPIRED = {"error": {"code": "batch_expired", "message": "the window expired"}, "response": None}


@pytest.mark.parametrize("failed", [_EXPIRED, {"response": {"status_code": 429, "body": {}}, "error": None}])
def test_lines_that_the_service_did_not_answer_are_exported_again(
    failed: dict[str, Any], play: Callable[..., Round], tmp_path: Path
) -> None:
    """However often a batch expires, it says nothing about a user, and no attempt of theirs is used up."""
    lines = asked(play(n_users=2))
    path = tmp_path / "expired.jsonl"
    path.write_text("\n".join(json.dumps({"custom_id": line["custom_id"], **failed}) for line in lines))
    again = play(path, n_users=2)
    assert asked(again) == lines, "the same prompts"
    assert again.report.failed == 0
    # the earlier file given last must not replace the answers
    assert play(answer(tmp_path / "results.jsonl", lines), path, n_users=2).report.written == 2


def test_aspects_are_combined_only_when_all_are_there(play: Callable[..., Round], tmp_path: Path) -> None:
    first = play(n_users=1, family="aspects")
    assert first.n_waiting == 3
    results = [answer(tmp_path / "two.jsonl", asked(first)[:2])]
    second = play(*results, n_users=1, family="aspects")
    assert second.n_waiting == 1
    results.append(answer(tmp_path / "third.jsonl", asked(second)))
    third = play(*results, n_users=1, family="aspects")
    assert third.n_waiting == 1
    results.append(answer(tmp_path / "whole.jsonl", asked(third)))
    assert play(*results, n_users=1, family="aspects").n_waiting == 0


def test_large_batches_are_cut_into_files(play: Callable[..., Round], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_files, "MAX_LINES", 2)
    found = play()
    assert [path.name for path in found.files] == ["round-0.jsonl", "round-0-2.jsonl", "round-0-3.jsonl"]
    assert len(asked(found)) == 5


def test_results_of_something_else_are_refused(play: Callable[..., Round], tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    answer(path, [{"custom_id": "somebody else's"}])
    with pytest.raises(ProfileError, match="none of the 1 results"):
        play(path)
    path.write_text("{}\n")
    with pytest.raises(ProfileError, match="line 1 is not a batch result"):
        play(path)
    with pytest.raises(ProfileError, match="no file"):
        play(tmp_path / "missing.jsonl")


def test_a_result_that_no_database_stores_is_cleaned(
    play: Callable[..., Round], store: ProfileStore, tmp_path: Path
) -> None:
    lines = asked(play(n_users=1))
    found = play(answer(tmp_path / "results.jsonl", lines, text=f"{GOOD} \ud800\x00 End."), n_users=1)
    assert (found.report.written, found.n_waiting) == (1, 0)


def test_batch_files_keep_the_limit_of_bytes_and_the_options_of_requests(
    play: Callable[..., Round], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"limit_field": "max_completion_tokens", "top_p": 0.9, "system_role": "user", "extra_body": {"x": 1}}
    found = play(backend="openai", options={**options, "concurrency": 4})
    body = asked(found)[0]["body"]
    assert ("max_tokens" in body, body["max_completion_tokens"] > 0, body["top_p"], body["x"]) == (False, True, 0.9, 1)
    assert [message["role"] for message in body["messages"]] == ["user"]
    longest = max(path.stat().st_size for path in found.files)
    monkeypatch.setattr(batch_files, "MAX_BYTES", longest // 2)
    cut = play(backend="openai", options=options)
    assert len(cut.files) > 1
    assert all(path.stat().st_size <= longest // 2 for path in cut.files)
    assert len(asked(cut)) == 5
