"""Batch files: prompts and results in the OpenAI Batch format, for hosted batch services and `vllm run-batch`.

Format: https://platform.openai.com/docs/guides/batch. The custom_id is a hash of the request, so a result is found
whatever happened in between, and no user id leaves this system. A conversation of several prompts (long histories,
rejected replies) takes several rounds: each round uses the available results and writes the missing prompts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from retort.offline.common.chunking import batches
from retort.offline.common.http_errors import RETRIED
from retort.offline.common.progress import Progress
from retort.offline.common.section import parse_section
from retort.offline.data.interactions import Items
from retort.offline.profiles.backends._base import WAITING, Message, OnReplies, Prompt, Reply, Sampling
from retort.offline.profiles.backends._http import NoReplyError, RequestOptions, parse_completion, request_body
from retort.offline.profiles.backends._tokens import TokenCounter, estimate_tokens
from retort.offline.profiles.batch_writer import ProfileWriter
from retort.offline.profiles.config import ProfilesConfig, open_catalogue
from retort.offline.profiles.faithfulness import FaithfulnessChecker
from retort.offline.profiles.history import UserHistory
from retort.offline.profiles.population import count_population
from retort.offline.profiles.report import ProfilesReport
from retort.offline.profiles.store import ProfileStore
from retort.shared.base.errors import ProfileError
from retort.shared.base.hashing import hash_json
from retort.shared.base.text import load_json

URL = "/v1/chat/completions"
MAX_LINES, MAX_BYTES = 50_000, 200_000_000  # limits of hosted services for one file


@dataclass(frozen=True)
class Round:
    """Result of one round: report of the finished profiles, the written files, and the number of prompts in them."""

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
    """Store the profiles that the results finish, and write the other prompts to target, target-2 and so on.

    Args:
        model: Name of the model at the batch service.
        results: Result files of earlier rounds.
        context_tokens: Context length of the model, prompt and reply together.
        count: Counts the tokens of a chat.

    Raises:
        ProfileError: A result file cannot be read, or no result belongs to this recipe and data.
    """
    known = known_replies(results)
    with BatchFiles(target) as files:
        options = request_options(config.options, "profiles.options")
        backend = BatchBackend(model, config.sampling, known, files, context_tokens, count, options)
        catalogue = open_catalogue(items, config)
        report = ProfilesReport("batch files")
        writer = ProfileWriter(
            config,
            store,
            backend,
            catalogue,
            FaithfulnessChecker(catalogue.vocabulary),
            report,
            progress,
            len(histories) if isinstance(histories, Sized) else None,
            population=count_population(histories, catalogue),
        )
        report.keys = writer.final_keys()
        for chunk in batches(histories, config.chunk_users):
            writer.write_chunk(chunk)
    if known and not backend.n_used and not report.reused:
        raise ProfileError(
            f"none of the {len(known)} results in {results[0]} belongs to a prompt of this recipe and data; give the "
            "file that the service returned for the exported prompts, and use the same recipe and model."
        )
    return Round(report, tuple(files.paths), files.n_lines)


def request_options(options: Mapping[str, Any], section: str) -> RequestOptions:
    """Return the options of requests among those of the recipe's backend."""
    named = {name: value for name, value in options.items() if name in RequestOptions.model_fields}
    return parse_section(RequestOptions, named, section)


def known_replies(results: Sequence[Path]) -> dict[str, Reply]:
    """Return custom_id → reply of all result files, in any order: a failed request does not replace an answered one."""
    known: dict[str, Reply] = {}
    for path in results:
        for custom_id, reply in read_results(path):
            if not reply.unanswered or custom_id not in known:
                known[custom_id] = reply
    return known


def read_results(path: Path) -> Iterator[tuple[str, Reply]]:
    """Yield custom_id and reply of each line.

    Raises:
        ProfileError: The file is missing, or a line is not a batch result.
    """
    if not path.is_file():
        raise ProfileError(f"there is no file {path}; give the results file of the batch service.")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _read_result(line, f"{path}, line {number}")


def _read_result(line: bytes, where: str) -> tuple[str, Reply]:
    try:
        row = load_json(line)
        custom_id, response = str(row["custom_id"]), row.get("response") or {}
        status = int(response.get("status_code") or 200)
        failed = bool(row.get("error")) or status >= 300
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ProfileError(
            f"{where} is not a batch result; each line must be an object with custom_id and response."
        ) from None
    if failed:
        details = row.get("error") or response.get("body") or response
        # an expired or cancelled batch, or a busy service, says nothing about the prompt: it is exported again
        unanswered = status in RETRIED or not row.get("response")
        return custom_id, Reply(
            "", error=f"the batch request failed ({str(details)[:160]})", final=unanswered, unanswered=unanswered
        )
    try:
        return custom_id, parse_completion(response.get("body"), str(response.get("body")))
    except NoReplyError as error:
        return custom_id, Reply("", error=str(error))


class BatchBackend:
    """Backend that answers from batch results, and writes the prompts without a result to batch files."""

    def __init__(
        self,
        model: str,
        sampling: Sampling,
        known: Mapping[str, Reply],
        files: "BatchFiles",
        context_tokens: int,
        count: TokenCounter,
        options: RequestOptions | None = None,
    ) -> None:
        self._options = options
        self._model, self._sampling, self._known, self._files = model, sampling, known, files
        self._context_tokens, self._count = context_tokens, count
        self.n_used = 0

    @property
    def model(self) -> str:
        """Name of the model at the batch service; it is stored with each text."""
        return self._model

    @property
    def context_tokens(self) -> int:
        """Context length, as given by the caller."""
        return self._context_tokens

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Count with the given counter."""
        return self._count(messages)

    def write(self, prompts: Sequence[Prompt], on_replies: OnReplies) -> list[Reply]:
        """Return known replies at once; the others are marked as waiting, which is not a failure."""
        replies = [self._reply(prompt) for prompt in prompts]
        on_replies(list(enumerate(replies)))
        return replies

    def close(self) -> None:
        """Do nothing."""

    def _reply(self, prompt: Prompt) -> Reply:
        body = request_body(prompt, self._model, self._sampling, self._options)
        custom_id = hash_json(body)[:40]
        if (reply := self._known.get(custom_id)) is not None:
            self.n_used += 1
            if not reply.unanswered:
                return reply
        self._files.add(custom_id, body)
        return Reply("", error=WAITING, final=True)


class BatchFiles:
    """Batch files of at most MAX_LINES lines and MAX_BYTES bytes; each prompt once."""

    def __init__(self, target: Path) -> None:
        self._target, self._seen = target, set[str]()
        self.paths: list[Path] = []
        self.n_lines = self._n_in_file = 0
        self._file: Any = None

    def __enter__(self) -> "BatchFiles":
        self._target.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, custom_id: str, body: dict[str, Any]) -> None:
        """Write one line, unless the same request is already written (two users with equal histories)."""
        if custom_id in self._seen:
            return
        self._seen.add(custom_id)
        line = orjson.dumps({"custom_id": custom_id, "method": "POST", "url": URL, "body": body}) + b"\n"
        if self._file is None or self._n_in_file == MAX_LINES or self._file.tell() + len(line) > MAX_BYTES:
            self._next_file()
        self._file.write(line)
        self._n_in_file += 1
        self.n_lines += 1

    def _next_file(self) -> None:
        if self._file is not None:
            self._file.close()
        self._n_in_file = 0
        number = len(self.paths) + 1
        name = self._target.name if number == 1 else f"{self._target.stem}-{number}{self._target.suffix}"
        self.paths.append(self._target.with_name(name))
        self._file = self.paths[-1].open("wb")
