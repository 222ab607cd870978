"""Train histories → profiles → vectors → what the teacher hands over."""

from pathlib import Path
from typing import Any

import polars as pl

from retort.offline.data.split_store import load_split
from retort.offline.pipeline.context import PROFILES_FILE, VECTORS_FILE, RunContext, load_tables
from retort.offline.pipeline.dag import Pipeline
from retort.offline.profiles.config import IMPORTED, ProfilesConfig, backend_name
from retort.shared.base.hashing import hash_file, hash_json
from retort.shared.base.settings import LanguageModelSettings


def written_by(config: ProfilesConfig, data_dir: Path | None, language_model: LanguageModelSettings) -> dict[str, Any]:
    """Who writes, here and now: the backend that "auto" means, or the file of ready profiles and its state."""
    backend = backend_name(config, language_model)
    if backend == "openai" and not config.options.get("model") and language_model.openai_base_url:
        # the server's only model is asked, and another server has another
        return {"backend": backend, "server": hash_json([language_model.openai_base_url])}
    if backend != IMPORTED:
        return {"backend": backend}
    path = Path(str(_beside_data(config, data_dir).options.get("path", "")))
    return {"backend": backend, "file": hash_file(path) if path.is_file() else None}


def _beside_data(config: ProfilesConfig, data_dir: Path | None) -> ProfilesConfig:
    """Ready profiles named by a relative path lie in the data directory."""
    path = config.options.get("path")
    if config.backend != IMPORTED or path is None or data_dir is None or Path(str(path)).is_absolute():
        return config
    return config.model_copy(update={"options": {**config.options, "path": str(data_dir / str(path))}})


def profiles_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    # From the held split under both protocols: what is written must not know the validation events either.
    from retort.offline.profiles.generator import profiles_tables, write_profiles, write_profiles_table
    from retort.offline.profiles.history import user_histories
    from retort.offline.profiles.store import ProfileStore

    context = pipeline.context
    tables, split = load_tables(pipeline), load_split(pipeline.ensure_path("split"))
    config = _beside_data(context.recipe.profiles, context.data_dir)
    store = ProfileStore(context.engine)

    def histories() -> Any:
        return user_histories(split, tables.interactions)

    report = write_profiles(histories(), tables.items, config, store, context.language_model, context.progress)
    texts = profiles_tables(histories(), tables.items, config, store, report)
    write_profiles_table(work / PROFILES_FILE, config, texts)


def vectors_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    from retort.offline.embeddings.encoder import encode_profiles
    from retort.offline.embeddings.vectors import write_vectors
    from retort.offline.pipeline.sharded import encode_shards

    context = pipeline.context
    if (n_shards := context.recipe.encoder.shards) is not None:
        encode_shards(pipeline, work, n_shards)
        return
    table = pl.read_parquet(pipeline.ensure_path("profiles") / PROFILES_FILE)
    vectors = encode_profiles(table, context.recipe.encoder, context.progress, cache_path=work / "cache.sqlite")
    write_vectors(work / VECTORS_FILE, vectors.ids, vectors.vectors, parts=vectors.parts)
    _forget_cache(work)


def items_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    from retort.offline.embeddings.encoder import encode_items
    from retort.offline.embeddings.vectors import write_vectors

    context = pipeline.context
    vectors = encode_items(
        load_tables(pipeline).items, context.recipe.encoder, context.progress, cache_path=work / "cache.sqlite"
    )
    write_vectors(work / VECTORS_FILE, vectors.ids, vectors.vectors, "item_id")
    _forget_cache(work)


def _forget_cache(work: Path) -> None:
    """The cache served a killed encoding; what is finished needs it no more."""
    for file in work.glob("cache.sqlite*"):
        file.unlink()


def teacher_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    from retort.offline.embeddings.reducer import fit_reducer
    from retort.offline.embeddings.vectors import read_vectors, write_vectors
    from retort.offline.pipeline.sharded import map_users

    if (n_shards := pipeline.context.recipe.encoder.shards) is not None:
        map_users(pipeline, work, n_shards)
        return
    stored = read_vectors(pipeline.ensure_path("vectors") / VECTORS_FILE)
    # vectors that stay apart share one map, each is a point of its own
    apart = stored.vectors.reshape(len(stored.ids) * stored.parts, -1)
    reduced = fit_reducer(apart, pipeline.context.recipe.reducer, pipeline.context.progress)
    reduced.reducer.save(work / "reducer")
    write_vectors(work / VECTORS_FILE, stored.ids, reduced.vectors.reshape(len(stored.ids), -1), parts=stored.parts)
