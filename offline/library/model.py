"""A fitted model of the library: its bundle, the users' histories and its evaluation."""

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
import orjson
import polars as pl

from retort.offline.common.database import migrate_and_open
from retort.offline.common.progress import Silent
from retort.offline.data.tables import load_saved
from retort.offline.export.batch_recommender import BatchRecommender
from retort.offline.library.evaluation import Evaluation
from retort.offline.library.server import Server, start_server
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import make_context
from retort.offline.recipes.recipe import Recipe
from retort.shared.base.disk import explained_full_disk
from retort.shared.base.errors import BundleError, DataError
from retort.shared.base.ids import canonical_id
from retort.shared.base.schema import MAX_K
from retort.shared.base.settings import Settings
from retort.shared.model import registry
from retort.shared.model.bundle import Bundle, open_bundle
from retort.shared.model.manifest import MANIFEST

_BUNDLE, _HISTORIES, _EVALUATION = "bundle", "histories.parquet", "evaluation.json"
_HISTORIES_SCHEMA = {"user_id": pl.String(), "item_id": pl.List(pl.String)}
_BATCH_USERS = 1024


class Model:
    """A fitted student with the histories that it recommends from."""

    def __init__(self, bundle: Bundle, histories: pl.DataFrame, evaluation: Evaluation | None = None) -> None:
        """Bind a bundle to histories.

        Args:
            bundle: The student's bundle.
            histories: user_id and item_id (a list, oldest first).
            evaluation: Test results of the training.
        """
        self.bundle = bundle
        self.histories = histories
        self._evaluation = evaluation
        self._recommender = BatchRecommender(bundle)

    def __repr__(self) -> str:
        n_items, n_users = self.bundle.manifest.n_items, self.histories.height
        return (
            f"Model({self.bundle.manifest.name}, {n_items:,} items, {n_users:,} users, bundle {self.bundle.bundle_id})"
        )

    def recommend(
        self, users: Iterable[str] | None = None, k: int = 10, *, histories: Mapping[str, list[str]] | None = None
    ) -> pl.DataFrame:
        """Return user_id, item_id, title, score, rank (from 1) and source for users, in their order.

        Items of a user's history are not recommended, unless the test showed that users choose them again. Users
        without a history get popular items, and `source` says so.

        Args:
            users: user_ids; unset: all with a history, or those of `histories`.
            k: Length of each list.
            histories: user_id → item_ids, oldest first, in place of those of the training data.
        """
        if not 1 <= k <= MAX_K:
            raise DataError(f"k = {k} is outside 1 … {MAX_K}; choose one within.")
        if isinstance(users, str):
            raise DataError(f"users is the text {users!r}; give a list, such as [{users!r}].")
        known = _with_canonical_ids(histories) if histories is not None else dict(self.histories.iter_rows())
        user_ids = [canonical_id(str(user)) for user in users] if users is not None else list(known)
        parts = []
        for start in range(0, len(user_ids), _BATCH_USERS):
            batch = user_ids[start : start + _BATCH_USERS]
            of_batch = [known.get(user_id, []) for user_id in batch]
            parts.append(pl.DataFrame(self._recommender.table(batch, of_batch, k)))
        if not parts:
            raise DataError("there are no users to recommend to; give user_ids, or histories.")
        return self._with_titles(pl.concat(parts))

    def similar(self, item: str, k: int = 10) -> pl.DataFrame:
        """Return item_id, title and cosine of the items whose vectors are nearest to an item's.

        Raises:
            DataError: The item is unknown, or the student has no item vectors.
        """
        vectors_ND, index = self.bundle.item_vectors, self.bundle.item_index.index(canonical_id(str(item)))
        if index is None:
            raise DataError(f"the model has no item {item!r}; give an item_id of its training data.")
        if vectors_ND is None:
            raise DataError("this student has no item vectors to compare; fit another one, such as sasrec.")
        units_ND = vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-12)
        cosines_N = units_ND @ units_ND[index]
        cosines_N[[0, index]] = -np.inf
        nearest_K = np.argsort(-cosines_N, kind="stable")[: min(k, len(cosines_N) - 2)]
        ids = [self.bundle.item_index.id(int(one)) for one in nearest_K]
        return self._with_titles(pl.DataFrame({"item_id": ids, "cosine": cosines_N[nearest_K]}))

    def evaluate(self, by: Literal["history_length", "target_popularity"] | None = None) -> pl.DataFrame:
        """Return the test results: popularity, the plain student and, where items have texts, the one with texts.

        Args:
            by: Compare the two students for groups of users by the length of their history, or of cases by the train
                events of the item that was chosen next.

        Raises:
            DataError: The model was loaded from a bundle without them, or there are no two students to compare.
        """
        if self._evaluation is None:
            raise DataError("this model was loaded from a bundle alone; use model.bundle.manifest.metrics, or fit it.")
        return self._evaluation.frame() if by is None else self._evaluation.groups(by)

    def save(self, path: str | Path) -> Path:
        """Write bundle, histories and evaluation to a new directory; `load` reads it.

        Raises:
            BundleError: The directory exists and is not empty.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise BundleError(f"{path} exists; name a new directory.")
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            with explained_full_disk(path):
                partial.mkdir(parents=True)
                shutil.copytree(self.bundle.path, partial / _BUNDLE)
                self.histories.write_parquet(partial / _HISTORIES)
                if self._evaluation is not None:
                    self._save_evaluation(partial)
                if path.exists():
                    path.rmdir()
                os.replace(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return path

    def serve(self, port: int = 0) -> Server:
        """Start the API over this model with a private Redis that holds its histories; `with` or `stop()` ends it.

        Args:
            port: 0: any free port.
        """
        with ExitStack() as stack:
            return start_server(stack, self.bundle.path, self.histories, port)

    def _save_evaluation(self, folder: Path) -> None:
        assert self._evaluation is not None
        ranks: dict[str, str] = {}
        for name, source in self._evaluation.ranks.items():
            if Path(source).is_file():
                ranks[name] = f"ranks-{len(ranks)}.parquet"
                shutil.copyfile(source, folder / ranks[name])
        stored = {"metrics": self._evaluation.metrics, "ranks": ranks, "chosen": self._evaluation.chosen}
        (folder / _EVALUATION).write_bytes(orjson.dumps(stored))

    def _with_titles(self, frame: pl.DataFrame) -> pl.DataFrame:
        items = pl.DataFrame(self.bundle.items)
        if "title" not in items.columns:
            return frame
        titled = frame.join(items.select("item_id", "title"), on="item_id", how="left", maintain_order="left")
        place = titled.columns.index("item_id") + 1
        return titled.select(*titled.columns[:place], "title", *frame.columns[place:])


def _with_canonical_ids(histories: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Ids as the data step reads them: a frame with missing values has `1.0` for `1`."""
    return {canonical_id(str(user)): [canonical_id(str(item)) for item in items] for user, items in histories.items()}


def load(reference: str | Path) -> Model:
    """Return the model of a saved directory, of a bundle's directory, or of an alias such as "champion".

    Raises:
        RetortError: There is no such directory or alias, or the bundle is damaged.
    """
    path = Path(reference)
    if (path / _BUNDLE).is_dir():
        return Model(open_bundle(path / _BUNDLE), *_saved_parts(path))
    if not (path / MANIFEST).is_file():
        engine = migrate_and_open(Settings())
        path = Path(registry.resolve(engine, str(reference)).uri.removeprefix("file://"))
        engine.dispose()
    return Model(open_bundle(path), pl.DataFrame(schema=_HISTORIES_SCHEMA))


def _saved_parts(path: Path) -> tuple[pl.DataFrame, Evaluation | None]:
    """Return the histories and the evaluation of a saved model.

    Raises:
        BundleError: A file is missing or damaged.
    """
    try:
        histories = pl.read_parquet(path / _HISTORIES)
        if dict(histories.schema) != _HISTORIES_SCHEMA:
            raise ValueError(f"the columns of {_HISTORIES} are others")
        return histories, _saved_evaluation(path)
    except (OSError, pl.exceptions.PolarsError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BundleError(f"{path} is no whole model ({reason}); save it again.") from error


def _saved_evaluation(path: Path) -> Evaluation | None:
    file = path / _EVALUATION
    if not file.is_file():
        return None
    stored = orjson.loads(file.read_bytes())
    ranks = {name: str(path / ranks) for name, ranks in stored["ranks"].items()}
    return Evaluation(stored["metrics"], ranks, stored["chosen"])


def newest_histories(recipe: Recipe, directory: Path, out: Path) -> pl.DataFrame:
    """Return user_id and item_id (a list, oldest first) of the newest events of the training data's users."""
    engine = migrate_and_open(Settings())
    pipeline = make_pipeline(make_context(recipe, directory, engine, Silent()), out)
    frame = load_saved(pipeline.ensure_path("data")).interactions.frame
    engine.dispose()
    newest = Settings().history_length
    return frame.group_by("user_id", maintain_order=True).agg(pl.col("item_id").tail(newest))
