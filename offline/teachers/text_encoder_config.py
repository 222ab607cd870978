"""`[teacher.text_encoder]`; apart from the teacher itself, which needs torch."""

from pydantic import Field

from retort.offline.common.section import Section


class TextEncoderConfig(Section):
    """How histories are read, how the maps are tuned, and what is kept of the answers."""

    width: int = Field(128, ge=1, description="principal components of the text vectors that are kept")
    history: int = Field(10, ge=1, description="newest items that are read")
    decay: float = Field(0.8, gt=0, le=1, description="an item weighs this much of the next newer one")
    latest: int | None = Field(None, ge=1, description="ask for each user's newest events only; unset: for all")
    k: int = Field(20, ge=1, description="items of a list that are kept")
    temperature: float = Field(1.0, gt=0, description="of the stored distributions")
    hide_seen: bool = Field(True, description="items of the history do not come back in the list")
    folds: int = Field(3, ge=0, description="groups of users for cross-fitting; 0 or 1: nothing is tuned")
    epochs: int = Field(5, ge=1, description="of tuning")
    batch_size: int = Field(512, ge=2, description="histories a step; their items are each other's negatives")
    learning_rate: float = Field(2e-3, gt=0, description="highest, while tuning")
    scale: float = Field(16.0, gt=0, description="cosines times this are logits; tuned from there")
    id_weight: float = Field(
        0.5, ge=0, description="in turns with a student: length of its item vector beside the text's, which is 1"
    )
    seed: int = Field(0, ge=0, description="of groups and batches")
