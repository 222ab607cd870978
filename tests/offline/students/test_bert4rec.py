"""What the published BERT4Rec of ECIR 2026 got wrong: masked padding, rows without a target."""

import torch

from retort.offline.students import bert4rec
from retort.shared.base.schema import PAD

N_ITEMS = 9


def model(**knobs: float) -> bert4rec.Model:
    torch.manual_seed(0)
    return bert4rec.Model(bert4rec.Config(embedding_dim=16, max_length=6, **knobs), N_ITEMS)  # type: ignore[arg-type]


def short_rows() -> torch.Tensor:
    items_BT = torch.randint(1, N_ITEMS + 1, (500, 7))
    items_BT[:, :4] = PAD
    return items_BT


def test_padding_is_never_masked_and_every_row_has_a_target() -> None:
    sequences_BT = short_rows()
    examples = model().examples(sequences_BT)
    assert (examples.items_BT[sequences_BT == PAD] == PAD).all()
    assert (examples.targets_BT != PAD).any(1).all()


def test_the_share_of_masks_is_as_configured() -> None:
    student = model(last_item_share=0.0, mask_share=0.3)
    sequences_BT = torch.randint(1, N_ITEMS + 1, (4000, 7))
    masked = (student.examples(sequences_BT).items_BT == student.mask_index).float().mean()
    at_least_one = 0.7**7 / 7  # rows that would have none
    assert abs(masked - 0.3 - at_least_one) < 0.01


def test_rows_that_mask_the_last_item_equal_requests_of_serving() -> None:
    student = model(last_item_share=1.0).eval()
    sequences_BT = short_rows()
    examples = student.examples(sequences_BT)
    assert (examples.items_BT[:, -1] == student.mask_index).all()
    assert (examples.items_BT == student.mask_index).sum() == len(sequences_BT)
    torch.testing.assert_close(
        student.hidden_states(examples.items_BT)[-1][:, -1], student.last_state(sequences_BT[:, :-1])
    )


def test_the_mask_is_no_item() -> None:
    student = model()
    assert student.item_table().shape[0] == N_ITEMS + 1
    assert student.mask_index < PAD, "a table that grows never reaches it"


def test_a_full_history_leaves_room_for_the_mask() -> None:
    student = model().eval()
    full_BT = torch.arange(1, 7)[None]
    changed_BT = full_BT.clone()
    changed_BT[0, 0] = 9
    # the oldest item still counts: the mask did not push it out
    assert (student.last_state(full_BT) - student.last_state(changed_BT)).abs().max() > 1e-5
