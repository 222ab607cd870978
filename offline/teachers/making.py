"""The teachers that make lists: from a split and what is known of its items to rankings and distributions on disk."""

from pathlib import Path

from offline.data.split import Split
from offline.progress import Progress
from offline.teachers.build import TeacherConfig, item_arm
from offline.teachers.lists import DISTRIBUTIONS, RANKINGS, write_distributions, write_rankings
from shared.errors import TeacherError


def make_lists(
    split: Split, item_vectors_path: Path | None, config: TeacherConfig, progress: Progress, work: Path
) -> None:
    """Ask the teacher that `[teacher] lists` names about the split's train events; write its answers to `work`."""
    from offline.teachers.text_encoder import text_encoder_lists

    items = item_arm(split, item_vectors_path, config, progress)
    if items is None:
        raise TeacherError(f"[teacher] lists = {config.lists!r} needs item vectors; give the items a text.")
    told = text_encoder_lists(split, items.vectors, items.present, config.text_encoder, progress)
    write_rankings(work / RANKINGS, split, told.rankings)
    write_distributions(work / DISTRIBUTIONS, split, told.distributions)
