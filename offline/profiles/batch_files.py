"""Prompts as OpenAI Batch files, and their results: for hosted batch APIs and `vllm run-batch`.

Format: https://platform.openai.com/docs/guides/batch. A custom_id is the hash of what is asked, so results are found
again whatever came in between, and no user id leaves the house. A conversation of several prompts (long histories,
bad replies) takes several rounds: each round answers what it can from the results and writes down what it lacks.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from retort.offline.common.chunking import batches
from retort.offline.common.progress import Progress
from retort.offline.data.interactions import Items
from retort.offline.profiles.backends._base import WAITING, Message, OnReplies, Prompt, Reply, Sampling
from retort.offline.profiles.backends._http import NoReplyError, parse_completion, request_body
from retort.offline.profiles.backends._tokens import TokenCounter, estimate_tokens
from retort.offline.profiles.batch_writer import ProfileWriter
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.profiles.faithfulness import FaithfulnessChecker
from retort.offline.profiles.history import Catalogue, UserHistory
from retort.offline.profiles.report import ProfilesReport
from retort.offline.profiles.store import ProfileStore
from retort.shared.base.errors import ProfileError
from retort.shared.base.hashing import hash_json

URL = "/v1/chat/completions"
MAX_LINES = 50_000  # what hosted services take in one file


@dataclass(frozen=True)
class Round:
    """What one round did: `report` of what is finished, the files that ask for the rest, how many prompts they hold."""

    report: ProfilesReport
    files: tuple[Path, ...]
    n_waiting: int


def batch_round(
    histories: Iterable[UserHistory],
    items: Items,
    config: ProfilesConfig,
    store: ProfileStore,
    progress: Progress,
    *,
    model: str,
    results: Sequence[Path] = (),
    target: Path,
    context_tokens: int = 8192,
    count: TokenCounter = estimate_tokens,
) -> Round:
    """Store what the results finish; write the prompts that are still unanswered to target, target-2, and so on."""
    known = {custom_id: reply for path in results for custom_id, reply in read_results(path)}
    with _Files(target) as files:
        backend = BatchBackend(model, config.sampling, known, files, context_tokens, count)
        catalogue = Catalogue(items, config.attributes, config.item_text_chars)
        report = ProfilesReport("batch files")
        writer = ProfileWriter(
            config, store, backend, catalogue, FaithfulnessChecker(catalogue.vocabulary), report, progress
        )
        report.keys = writer.final_keys()
        for some in batches(histories, config.chunk_users):
            writer.write_chunk(some)
    if known and not backend.n_used and not report.reused:
        raise ProfileError(
            f"none of the {len(known)} results in {results[0]} answers a prompt of this recipe and data; give the file "
            "that came back for the exported prompts, with the same recipe and model."
        )
    return Round(report, tuple(files.paths), files.n_lines)


def read_results(path: Path) -> Iterator[tuple[str, Reply]]:
    """custom_id and reply of each line. Raises ProfileError with the line of what is no result."""
    if not path.is_file():
        raise ProfileError(f"there is no file {path}; give the results that the batch service wrote.")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _read_result(line, f"{path}, line {number}")


def _read_result(line: bytes, where: str) -> tuple[str, Reply]:
    try:
        row = orjson.loads(line)
        custom_id, response = str(row["custom_id"]), row.get("response") or {}
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise ProfileError(
            f"{where} is no result of a batch: an object with custom_id and response is wanted."
        ) from None
    if row.get("error") or int(response.get("status_code", 200)) >= 300:
        said = row.get("error") or response.get("body") or response
        return custom_id, Reply("", error=f"the batch failed here ({str(said)[:160]})")
    try:
        return custom_id, parse_completion(response.get("body"), str(response.get("body")))
    except NoReplyError as unanswered:
        return custom_id, Reply("", error=str(unanswered))


class BatchBackend:
    """A model that answers from results, and writes down what it cannot answer yet."""

    def __init__(
        self,
        model: str,
        sampling: Sampling,
        known: Mapping[str, Reply],
        files: "_Files",
        context_tokens: int,
        count: TokenCounter,
    ) -> None:
        self._model, self._sampling, self._known, self._files = model, sampling, known, files
        self._context_tokens, self._count = context_tokens, count
        self.n_used = 0

    @property
    def model(self) -> str:
        """The name that the batch service knows, and that is stored."""
        return self._model

    @property
    def context_tokens(self) -> int:
        """As the caller says: nobody can be asked."""
        return self._context_tokens

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """By the counter that was given."""
        return self._count(messages)

    def write(self, prompts: Sequence[Prompt], on_replies: OnReplies) -> list[Reply]:
        """Known replies at once; the others are waited for, which is no failure."""
        replies = [self._reply(prompt) for prompt in prompts]
        on_replies(list(enumerate(replies)))
        return replies

    def close(self) -> None:
        """Holds nothing."""

    def _reply(self, prompt: Prompt) -> Reply:
        body = request_body(prompt, self._model, self._sampling)
        custom_id = hash_json(body)[:40]
        if (reply := self._known.get(custom_id)) is not None:
            self.n_used += 1
            return reply
        self._files.add(custom_id, body)
        return Reply("", error=WAITING, final=True)


class _Files:
    """Batch files of at most MAX_LINES lines; each prompt once."""

    def __init__(self, target: Path) -> None:
        self._target, self._seen = target, set[str]()
        self.paths: list[Path] = []
        self.n_lines = 0
        self._file: Any = None

    def __enter__(self) -> "_Files":
        self._target.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, custom_id: str, body: dict[str, Any]) -> None:
        """One line, unless the same is asked already (two users with one history)."""
        if custom_id in self._seen:
            return
        self._seen.add(custom_id)
        if self.n_lines % MAX_LINES == 0:
            self._next_file()
        line = {"custom_id": custom_id, "method": "POST", "url": URL, "body": body}
        self._file.write(orjson.dumps(line) + b"\n")
        self.n_lines += 1

    def _next_file(self) -> None:
        if self._file is not None:
            self._file.close()
        number = len(self.paths) + 1
        name = self._target.name if number == 1 else f"{self._target.stem}-{number}{self._target.suffix}"
        self.paths.append(self._target.with_name(name))
        self._file = self.paths[-1].open("wb")
