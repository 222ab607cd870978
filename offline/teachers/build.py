"""Makes the teacher of a split from vectors and lists on disk, or a control in its place."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from retort.offline.common.progress import Progress, Silent
from retort.offline.data.split import Split
from retort.offline.embeddings.vectors import Vectors, read_vectors
from retort.offline.teachers import controls
from retort.offline.teachers.config import TeacherConfig, WeightsConfig
from retort.offline.teachers.faithfulness_weights import normalised_weights, user_weights
from retort.offline.teachers.published import read_published_rankings
from retort.offline.teachers.ranked_lists import DISTRIBUTIONS, RANKINGS, read_distributions, read_rankings
from retort.offline.teachers.selection import select
from retort.offline.teachers.teacher import (
    Aligned,
    BoolArray,
    Distributions,
    FloatArray,
    IntArray,
    Rankings,
    Teacher,
    align_items,
    align_users,
)
from retort.shared.base.errors import TeacherError


def build_teacher(
    split: Split,
    user_vectors_path: Path | None,
    item_vectors_path: Path | None,
    config: TeacherConfig | None = None,
    progress: Progress | None = None,
    made_lists: Path | None = None,
    profiles_path: Path | None = None,
) -> Teacher:
    """Join vectors and lists to the split by id; users without a train history have no teacher vector.

    A control keeps the mask of the real teacher where one is given, so that both teach the same users.

    Args:
        split: Users, items and train histories.
        user_vectors_path: Vectors of the profiles.
        item_vectors_path: Vectors of the items.
        config: The recipe's `[teacher]`.
        progress: Receives counts of users and items.
        made_lists: Folder of the lists that a step made for this split (`offline/teachers/list_builders.py`).
        profiles_path: Table of the profiles, whose faithfulness `[teacher.weights]` may require.

    Raises:
        TeacherError: Something that the configuration requires is missing.
    """
    config, progress = config or TeacherConfig(), progress or Silent()
    stored = None if user_vectors_path is None else read_vectors(user_vectors_path, "user_id")
    users = _users(split, stored)
    items = arm_item_vectors(split, item_vectors_path, config, progress)
    arm = _control(split, users, items, config)
    if arm is not None:
        _report(split, arm, config, progress)
    if items is not None:
        progress.say(f"{items.present.sum()} of {len(items.present) - 1} items have a text vector")
    rankings, distributions = _lists(split, config, made_lists)
    teacher = Teacher(
        None if arm is None else arm.vectors,
        None if arm is None else arm.present,
        None if items is None else items.vectors,
        None if items is None else items.present,
        rankings,
        distributions,
        # a control from the history has one vector per user
        1 if stored is None or config.control.startswith("history") else stored.parts,
        None if arm is None else _weights(split, profiles_path, config.weights, arm.present),
    )
    return select(teacher, split, config.selection)


def _weights(split: Split, profiles_path: Path | None, config: WeightsConfig, present: BoolArray) -> FloatArray | None:
    """Weight of each user's profile, if the recipe requires weights."""
    if config.by == "none":
        return None
    if profiles_path is None:
        raise TeacherError('[teacher.weights] by = "grounding" needs the profiles themselves; add [profiles].')
    return normalised_weights(user_weights(split.user_ids, pl.read_parquet(profiles_path), config), present)


def _users(split: Split, stored: Vectors | None) -> Aligned | None:
    if stored is None:
        return None
    aligned = align_users(split.user_ids, stored.ids, stored.vectors)
    return _masked(aligned, aligned.present & (split.train.lengths > 0))


def _items(split: Split, path: Path | None) -> Aligned | None:
    if path is None:
        return None
    stored = read_vectors(path, "item_id")
    return align_items(split.item_index, stored.ids, stored.vectors)


def arm_item_vectors(split: Split, path: Path | None, config: TeacherConfig, progress: Progress) -> Aligned | None:
    """Return the item vectors, or their control, of the same number and spread."""
    items = _items(split, path)
    if config.item_control == "none":
        return items
    if items is None and config.lists_read_texts:
        return None  # only the lists know the items; their texts are shuffled where the lists are made
    if items is None:
        raise TeacherError(f"[teacher] item_control = {config.item_control!r} needs item vectors; give items a text.")
    make = controls.shuffled if config.item_control == "shuffled" else controls.gaussian
    progress.say(f"item vectors are a control: {config.item_control}")
    return Aligned(make(items.vectors, items.present, config.seed), items.present.copy())


def _lists(
    split: Split, config: TeacherConfig, made_lists: Path | None
) -> tuple[Rankings | None, Distributions | None]:
    """Ranked lists and distributions at train events, or their control."""
    rankings, distributions = _given_lists(split, config, made_lists)
    if config.list_control == "none":
        return rankings, distributions
    if rankings is None and distributions is None:
        raise TeacherError(f"[teacher] list_control = {config.list_control!r} needs lists; name their source in lists.")
    return (
        None if rankings is None else replace(rankings, rows_E=_shuffled_rows(rankings.rows_E, config.seed)),
        None
        if distributions is None
        else replace(distributions, rows_E=_shuffled_rows(distributions.rows_E, config.seed)),
    )


def _shuffled_rows(rows_E: IntArray, seed: int) -> IntArray:
    """(E,): rows exchanged among the events that have one; a list keeps its own confidence."""
    shuffled: IntArray = rows_E[controls.derangement(rows_E >= 0, seed)]
    return shuffled


def _given_lists(
    split: Split, config: TeacherConfig, made_lists: Path | None
) -> tuple[Rankings | None, Distributions | None]:
    folder = made_lists if config.makes_lists else config.lists_path
    if config.lists == "none" or (config.makes_lists and folder is None):
        return None, None
    if folder is None:
        raise TeacherError(f"[teacher] lists = {config.lists!r} needs lists_path, the folder that holds them.")
    if not config.makes_lists and config.item_control != "none":
        raise TeacherError(
            f"[teacher] item_control = {config.item_control!r} cannot change lists that are given; give lists that "
            'were made under that control and write item_control = "none", or let a teacher of this run make them.'
        )
    if config.lists == "published":
        return read_published_rankings(folder, split), None
    rankings, distributions = folder / RANKINGS, folder / DISTRIBUTIONS
    if not rankings.exists() and not distributions.exists():
        raise TeacherError(f"{folder} has neither {RANKINGS} nor {DISTRIBUTIONS}; name another lists_path.")
    return (
        read_rankings(rankings, split) if rankings.exists() else None,
        read_distributions(distributions, split) if distributions.exists() else None,
    )


def _control(split: Split, users: Aligned | None, items: Aligned | None, config: TeacherConfig) -> Aligned | None:
    if config.control == "none":
        return users
    if config.control in ("shuffled", "gaussian"):
        if users is None:
            raise TeacherError(f"[teacher] control = {config.control!r} needs user vectors; run profiles first.")
        make = controls.shuffled if config.control == "shuffled" else controls.gaussian
        return Aligned(make(users.vectors, users.present, config.seed), users.present.copy())
    if config.control == "history_pca":
        made = Aligned(*controls.history_pca(split.train, len(split.item_index), config.n_components, config.seed))
    elif items is None:
        raise TeacherError("[teacher] control = 'history_mean' needs item vectors; give their file.")
    else:
        made = Aligned(*controls.history_mean(split.train, items.vectors, items.present))
    return made if users is None else _masked(made, made.present & users.present)


def _masked(aligned: Aligned, present: BoolArray) -> Aligned:
    return Aligned(aligned.vectors * present[:, None], present)


def _report(split: Split, arm: Aligned, config: TeacherConfig, progress: Progress) -> None:
    """Report the number of taught users; TeacherError if there are too few."""
    n_able, n_taught = int((split.train.lengths > 0).sum()), int(arm.present.sum())
    named = "" if config.control == "none" else f" (control: {config.control})"
    progress.say(f"{n_taught} of {n_able} users with a train history have a teacher vector{named}")
    if n_taught < config.min_coverage * n_able or not n_taught:
        raise TeacherError(
            f"{n_taught} of {n_able} users with a train history have a teacher vector; [teacher] min_coverage requires "
            f"{config.min_coverage:.1%}: find out why profiles are missing, or lower it."
        )
