"""The teachers that make lists alone: from a split and what is known of its items to answers for its train events.

Those that take turns with a student stand above the training: `offline/pipeline/lists.py`.
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
    """What a list maker may read of the items: their table, the file of their text vectors, and the text encoder."""

    items: Items
    vectors_path: Path | None
    encoder: EncoderConfig


def make_lists(split: Split, known: ItemKnowledge, config: TeacherConfig, progress: Progress) -> TeacherOutputs:
    """Ask the teacher that `[teacher] lists` names about the split's train events."""
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
            return title_generation_lists(split, titles, config.grounding, progress)
        case _:
            raise TeacherError(f"[teacher] lists = {config.lists!r} is made with a student or given, not made alone.")


def text_vectors(split: Split, known: ItemKnowledge, config: TeacherConfig, progress: Progress) -> Aligned:
    """The items' text vectors, or their control arm; raises TeacherError where there are none."""
    items = arm_item_vectors(split, known.vectors_path, config, progress)
    if items is None:
        raise TeacherError(f"[teacher] lists = {config.lists!r} needs item vectors; give the items a text.")
    return items


def control_texts(texts: list[str], config: TeacherConfig, progress: Progress) -> list[str]:
    """The texts that a list maker reads, or those of other items; a control must not leave the lists their texts."""
    if config.item_control == "none":
        return texts
    if config.item_control != "shuffled":
        raise TeacherError(
            f"[teacher] item_control = {config.item_control!r} stands for vectors, and lists = {config.lists!r} reads "
            'texts; write item_control = "shuffled".'
        )
    progress.say("the texts that the lists are made from are a control arm: shuffled")
    whose = controls.derangement(np.array([bool(text.strip()) for text in texts]), config.seed)
    return [texts[row] for row in whose]


def tuned_items(
    split: Split, known: ItemKnowledge, config: TeacherConfig, progress: Progress
) -> tuple[list[str], FloatArray]:
    """Ids and vectors of the items that have a text, by an encoder tuned on the split's train rows."""
    from retort.offline.teachers.tuned_encoder import tuned_item_vectors

    texts = item_texts(split.item_index, known.items)
    vectors = tuned_item_vectors(split, texts, known.encoder, config.tuned_encoder, progress)
    rows = [place for place, text in enumerate(texts) if text]
    return [split.item_index.id(place) for place in rows], vectors[rows]


def item_texts(index: ItemIndex, items: Items) -> list[str]:
    """(n_items + 1): title and text of each item, as the encoder reads them; "" for PAD and where there are none."""
    return _by_index(index, items, ("title", "text"))


def item_titles(index: ItemIndex, items: Items) -> list[str]:
    """(n_items + 1): what each item is called; its text where it has no title."""
    titles, texts = _by_index(index, items, ("title",)), _by_index(index, items, ("text",))
    return [title or text for title, text in zip(titles, texts, strict=True)]


def _by_index(index: ItemIndex, items: Items, columns: tuple[str, ...]) -> list[str]:
    said = items.frame.select("item_id", *columns).iter_rows()
    known = {item_id: ". ".join(part.strip() for part in chunks if part).strip(" .") for item_id, *chunks in said}
    return ["", *(known.get(item_id, "") for item_id in index.ids)]
