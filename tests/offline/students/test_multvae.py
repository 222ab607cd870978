"""Mult-VAE's loss is the paper's, divided by the items a row; its noise is for training alone."""

import pytest
import torch

from retort.offline.students import multvae
from retort.offline.training import losses
from retort.shared.base.schema import PAD

N_ITEMS = 9


def model(**knobs: float) -> multvae.Model:
    torch.manual_seed(0)
    return multvae.Model(multvae.Config(embedding_dim=8, max_length=6, **knobs), N_ITEMS)  # type: ignore[arg-type]


def rows() -> torch.Tensor:
    return torch.tensor([[0, 0, 1, 2], [3, 4, 5, 6], [0, 7, 8, 9]])


def test_the_loss_of_the_own_items_is_the_multinomial_likelihood() -> None:
    student = model(dropout=0.0).eval()
    examples = student.examples(rows())
    asked_BT = examples.targets_BT != PAD
    table_ND = student.item_table()
    states_BTD = student.hidden_states(examples.items_BT)[-1]
    got = losses.full_softmax(states_BTD[asked_BT], table_ND, examples.targets_BT[asked_BT])
    log_shares_BN = (student.last_state(rows()) @ table_ND[1:].T).log_softmax(-1)
    of_rows = [sum(log_shares_BN[b, item - 1] for item in row if item != PAD) for b, row in enumerate(rows().tolist())]
    torch.testing.assert_close(got, -sum(of_rows) / asked_BT.sum())


def test_the_divergence_is_the_gaussians() -> None:
    mean_BZ, log_variance_BZ = torch.randn(4, 3), torch.randn(4, 3)
    ours = torch.distributions.Normal(mean_BZ, (0.5 * log_variance_BZ).exp())
    expected_B = torch.distributions.kl_divergence(ours, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(multvae.divergence(mean_BZ, log_variance_BZ), expected_B)


def test_the_penalty_rises_to_its_cap_and_belongs_to_training() -> None:
    student = model(kl_steps=2, kl_cap=0.4).train()
    found = []
    for _ in range(4):
        student.hidden_states(rows())
        assert student._divergence_B is not None
        whole = student._divergence_B.sum() / 9
        penalty = student.penalty(9)
        assert penalty is not None
        found.append((penalty / whole).item())
    assert found == pytest.approx([0.0, 0.2, 0.4, 0.4])
    assert student.penalty(9) is None  # each batch pays once
    student.eval().hidden_states(rows())
    assert student.penalty(9) is None


def test_an_item_is_dropped_as_a_whole_and_only_in_training() -> None:
    student = model(dropout=0.9)
    student.eval()
    assert torch.equal(student.last_state(rows()), student.last_state(rows()))
    student.train()
    read = torch.cat([student._read(rows()[:1]) for _ in range(60)])
    # of two items each is there or not: at most four pictures
    assert 1 < len(read.detach().unique(dim=0)) <= 4
