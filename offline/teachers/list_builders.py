"""Teachers that make lists without a student: from a split and its item knowledge to lists at train events.

Teachers that are trained with a student are in `offline/pipeline/lists.py`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retort.offline.common.progress import Progress
from retort.offline.data.interactions import Items
from retort.offline.data.split import Split
from retort.offline.embeddings.encoder_config import EncoderConfig
from retort.offline.teachers import controls
from retort.offline.teachers._list_collector import TeacherOutputs
from retort.offline.teachers.build import arm_item_vectors
from retort.offline.teachers.config import TeacherConfig
from retort.offline.teachers.teacher import Aligned, FloatArray
from retort.shared.base.errors import TeacherError
from retort.shared.model.item_index import ItemIndex


@dataclass(frozen=True)
class ItemKnowledge:
    """Item knowledge for teachers: table of the items, file of their text vectors, and configuration of the encoder."""

    items: Items
    vectors_path: Path | None
    encoder: EncoderConfig


def make_lists(
    split: Split, known: ItemKnowledge, config: TeacherConfig, progress: Progress, work: Path | None = None
) -> TeacherOutputs:
    """Train the teacher that `[teacher] lists` names, and return its lists at the split's train events.

    A language model that generates titles leaves checkpoints in `work` and continues from them.
    """
    match config.lists:
        case "text_encoder":
            from retort.offline.teachers.text_encoder import text_encoder_lists

            items = text_vectors(split, known, config, progress)
            return text_encoder_lists(split, items.vectors, items.present, config.text_encoder, progress)
        case "tuned_encoder":
            from retort.offline.teachers.tuned_encoder import tuned_encoder_lists

            texts = control_texts(item_texts(split.item_index, known.items), config, progress)
            return tuned_encoder_lists(split, texts, known.encoder, config.tuned_encoder, progress)
        case "grounding":
            from retort.offline.teachers.title_generation import title_generation_lists

            titles = control_texts(item_titles(split.item_index, known.items), config, progress)
            return title_generation_lists(split, titles, config.grounding, progress, work)
        case _:
            raise TeacherError(
                f"[teacher] lists = {config.lists!r} cannot be made here; it is made with a student, or "
                "read from files."
            )


def text_vectors(split: Split, known: ItemKnowledge, config: TeacherConfig, progress: Progress) -> Aligned:
    """Return the items' text vectors, or their control.

    Raises:
        TeacherError: There are none.
    """
    items = arm_item_vectors(split, known.vectors_path, config, progress)
    if items is None:
        raise TeacherError(f"[teacher] lists = {config.lists!r} needs item vectors; give the items a text.")
    return items


def control_texts(texts: list[str], config: TeacherConfig, progress: Progress) -> list[str]:
    """Return the texts, or with `item_control` those of other items."""
    if config.item_control == "none":
        return texts
    if config.item_control != "shuffled":
        raise TeacherError(
            f"[teacher] item_control = {config.item_control!r} applies to vectors, and lists = {config.lists!r} reads "
            'texts; write item_control = "shuffled".'
        )
    progress.say("the texts that the lists are made from are a control: shuffled")
    whose = controls.derangement(np.array([bool(text.strip()) for text in texts]), config.seed)
    return [texts[row] for row in whose]


def tuned_items(
    split: Split, known: ItemKnowledge, config: TeacherConfig, progress: Progress
) -> tuple[list[str], FloatArray]:
    """Train an encoder on the split's train rows; return ids and vectors of the items that have a text."""
    from retort.offline.teachers.tuned_encoder import tuned_item_vectors

    texts = item_texts(split.item_index, known.items)
    vectors = tuned_item_vectors(split, texts, known.encoder, config.tuned_encoder, progress)
    rows = [place for place, text in enumerate(texts) if text]
    return [split.item_index.id(place) for place in rows], vectors[rows]


def item_texts(index: ItemIndex, items: Items) -> list[str]:
    """Return title and text (n_items + 1) of each item, as the encoder reads them; "" for PAD and missing texts."""
    return _by_index(index, items, ("title", "text"))


def item_titles(index: ItemIndex, items: Items) -> list[str]:
    """Return the title (n_items + 1) of each item; its text where it has no title."""
    titles, texts = _by_index(index, items, ("title",)), _by_index(index, items, ("text",))
    return [title or text for title, text in zip(titles, texts, strict=True)]


def _by_index(index: ItemIndex, items: Items, columns: tuple[str, ...]) -> list[str]:
    said = items.frame.select("item_id", *columns).iter_rows()
    known = {item_id: ". ".join(part.strip() for part in chunks if part).strip(" .") for item_id, *chunks in said}
    return ["", *(known.get(item_id, "") for item_id in index.ids)]
