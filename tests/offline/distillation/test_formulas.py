"""Each objective's value is its paper's formula, written out here with plain sums."""

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch.nn import functional

from retort.offline.distillation import embedding, feature, mutual, profile, ranking, relational, soft_items
from retort.offline.distillation._activations import Pool, Pooling
from retort.offline.distillation._base import StudentOutput
from retort.offline.distillation._teacher_positions import teacher_positions
from retort.offline.training.training_run import add_weighted
from retort.shared.base.schema import PAD
from tests.offline._worlds import teacher_of
from tests.offline.distillation._batches import SPLIT, output, student

TEACHER = teacher_of(SPLIT)
assert TEACHER.rankings is not None
assert TEACHER.distributions is not None
RANKINGS, DISTRIBUTIONS = TEACHER.rankings, TEACHER.distributions


def _value_and_slope(**knobs: Any) -> tuple[float, float]:
    """Of the joined loss of own = x² and objective = x³ at x = 2."""
    x = torch.tensor(2.0, requires_grad=True)
    objective = profile.Model(profile.Config(name="profile", **knobs), student(), TEACHER)
    own = x**2
    total = add_weighted(own, own, x**3, objective)
    (slope,) = torch.autograd.grad(total, x)
    return total.item(), slope.item()


def test_the_loss_is_shared_by_alpha_or_added_by_lambda() -> None:
    assert _value_and_slope(weight=0.4, share=True) == pytest.approx((0.6 * 4 + 0.4 * 8, 0.6 * 4 + 0.4 * 12))
    assert _value_and_slope(weight=0.4) == pytest.approx((4 + 0.4 * 8, 4 + 0.4 * 12))


def test_beta_scales_the_objective_to_the_students_loss_and_has_no_gradient() -> None:
    """β = 4 / 8 is a number: the sum is the student's loss, its slope α · L_m · (log L_d)' + (1 − α) · L_m'."""
    value, slope = _value_and_slope(weight=0.4, share=True, match_scale=True)
    assert value == pytest.approx(4.0)
    assert slope == pytest.approx(0.4 * 4 * (12 / 8) + 0.6 * 4)


def test_beta_is_capped() -> None:
    value, _ = _value_and_slope(weight=0.4, share=True, match_scale=True, scale_cap=0.25)
    assert value == pytest.approx(0.6 * 4 + 0.4 * 0.25 * 8)


def _distance(kind: str, said_BP: torch.Tensor, target_BP: torch.Tensor) -> torch.Tensor:
    squared = (said_BP - target_BP) ** 2
    match kind:
        case "mse":
            return squared.mean()
        case "rmse":
            return squared.mean().sqrt()
        case "cosine":
            cosines_B = (said_BP * target_BP).sum(-1) / said_BP.norm(dim=-1) / target_BP.norm(dim=-1)
            return 1 - cosines_B.mean()
        case _:
            cosines_BB = functional.normalize(said_BP, dim=-1) @ functional.normalize(target_BP, dim=-1).T
            return -(cosines_BB / 0.1).log_softmax(-1).diagonal().mean()


def _mean_of_items(states_BTD: torch.Tensor, out: StudentOutput) -> torch.Tensor:
    rows = zip(states_BTD, out.items_BT != PAD, strict=True)
    return torch.stack([states_TD[real_T].mean(0) for states_TD, real_T in rows])


@pytest.mark.parametrize("loss", ["mse", "rmse", "cosine"])
@pytest.mark.parametrize("mode", ["faithful", "repaired"])
def test_profile_reconstruction(mode: str, loss: str) -> None:
    model = student()
    out = output(model)
    objective = profile.Model(profile.Config(name="profile", mode=mode, loss=loss, block=0), model, TEACHER)  # type: ignore[arg-type]
    said, target = _mean_of_items(out.states[0], out), torch.from_numpy(TEACHER.user_vectors)  # type: ignore[arg-type]
    if mode == "faithful":  # E(P) is mapped to the student
        target = objective.of_profile(target)
    else:  # the student is mapped to E(P), which is fixed
        said, target = objective.of_student(said), functional.normalize(target - target.mean(0), dim=-1)
    torch.testing.assert_close(objective(out), _distance(loss, said, target[out.users_B]))


@pytest.mark.parametrize("loss", ["mse", "rmse", "cosine", "infonce"])
@pytest.mark.parametrize("mode", ["faithful", "repaired"])
def test_inner_layer_reconstruction(mode: str, loss: str) -> None:
    model = student()
    teacher = teacher_of(SPLIT, width=16)
    objective = feature.Model(
        feature.Config(name="feature", mode=mode, loss=loss, layer="blocks.0"),  # type: ignore[arg-type]
        model,
        teacher,
    )
    objective.attach(model)
    out = output(model)
    said, target = _mean_of_items(out.states[0], out), torch.from_numpy(teacher.user_vectors)  # type: ignore[arg-type]
    if mode == "faithful":
        assert not list(objective.parameters()), "the paper's map is not learnt"
    else:
        said, target = objective.project(said), functional.normalize(target - target.mean(0), dim=-1)
    torch.testing.assert_close(objective(out), _distance(loss, said, target[out.users_B]))


def test_a_layer_equal_to_the_profile_has_no_loss_and_the_opposite_has_the_largest() -> None:
    """The published cosine had the wrong sign."""
    objective = feature.Model(
        feature.Config(name="feature", mode="faithful", loss="cosine", layer="norm"), student(), teacher_of(SPLIT, 16)
    )
    profiles = objective.targets_UP[:3]
    assert objective._distance(2 * profiles, profiles).item() == pytest.approx(0, abs=1e-6)
    assert objective._distance(-profiles, profiles).item() == pytest.approx(2)


def _listed(objective: ranking.Model, out: StudentOutput) -> tuple[torch.Tensor, torch.Tensor, np.ndarray[Any, Any]]:
    """Scores of the catalogue (M, N), weights (M, K), rows of the lists."""
    here = teacher_positions(out, objective.rows_E, "all")
    weights_MK = objective.weights(out, here.cells_BT, here.states_MD, here.rows_M)
    return here.states_MD @ out.table_ND.T, weights_MK, here.rows_M.numpy()


def test_faithful_ranking_distillation_is_equation_5_and_its_gradient_equation_9() -> None:
    model = student()
    out = output(model)
    objective = ranking.Model(ranking.Config(name="ranking", mode="faithful", k=4), model, TEACHER)
    states_BTD = out.states[-1].detach().requires_grad_()
    loss = objective(replace(out, states=[out.states[0], states_BTD], table_ND=out.table_ND.detach()))
    scores_MN, weights_MK, rows = _listed(objective, out)
    candidates_MK = torch.from_numpy(RANKINGS.items[rows])
    own_MK = scores_MN.gather(1, candidates_MK)
    torch.testing.assert_close(loss, -(weights_MK * own_MK.sigmoid().log()).sum() / len(rows))
    slopes_MK = -weights_MK * (1 - own_MK.sigmoid()) / len(rows)
    expected_MD = (slopes_MK[:, :, None] * out.table_ND[candidates_MK]).sum(1)
    (got_BTD,) = torch.autograd.grad(loss, states_BTD)
    torch.testing.assert_close(got_BTD[out.events_BT >= 0], expected_MD)


def test_repaired_weights_are_a_share_a_percentile_and_the_share_of_what_both_list() -> None:
    model = student().eval()
    out = output(model)
    config = ranking.Config(name="ranking", k=4, position_scale=2.0, negatives=0)
    objective = ranking.Model(config, model, TEACHER)
    scores_MN, weights_MK, rows = _listed(objective, out)
    place_K = (-torch.arange(1, 5) / 2.0).softmax(0)
    mine_MK = scores_MN[:, 1:].topk(4).indices + 1
    for m, row in enumerate(rows):
        farther = (RANKINGS.d_star > RANKINGS.d_star[row]).mean() + 0.5 / len(RANKINGS.d_star)  # itself counts half
        both_K = torch.tensor([item in mine_MK[m] for item in RANKINGS.items[row]]).float()
        expected_K = 0.3 * place_K + 0.5 * farther / 4 + 0.1 * both_K / max(1, both_K.sum())
        torch.testing.assert_close(weights_MK[m], expected_K, rtol=1e-4, atol=1e-5)
    logs_MN = scores_MN[:, 1:].log_softmax(-1)
    listed_MK = logs_MN.gather(1, torch.from_numpy(RANKINGS.items[rows]) - 1)
    torch.testing.assert_close(objective(out), -(weights_MK * listed_MK).sum() / len(rows))


@pytest.mark.parametrize("mode", ["faithful", "repaired"])
def test_mutual_distillation_is_the_kl_to_the_teacher_weighted_by_ranks(mode: str) -> None:
    """T² · mean of w · Σ p log(p / q), all items but the listed as one; T is 2 here."""
    model = student()
    out = output(model)
    own_ranks = np.arange(len(DISTRIBUTIONS.true_ranks)) % 5 + 1
    teacher = replace(TEACHER, distributions=replace(DISTRIBUTIONS, learner_ranks=own_ranks))
    objective = mutual.Model(mutual.Config(name="mutual", mode=mode, positions="all"), model, teacher)  # type: ignore[arg-type]
    here = teacher_positions(out, objective.rows_E, "all")
    scores_MN = (here.states_MD @ out.table_ND.T)[:, 1:]
    total = torch.zeros(())
    for m, row in enumerate(here.rows_M.tolist()):
        p_K = torch.from_numpy(DISTRIBUTIONS.probabilities[row])
        q_K = (scores_MN[m] / 2.0).softmax(-1)[DISTRIBUTIONS.items[row] - 1]
        divergence = (p_K * (p_K / q_K).log()).sum() + (1 - p_K.sum()) * ((1 - p_K.sum()) / (1 - q_K.sum())).log()
        mine = (
            int((scores_MN[m] >= scores_MN[m, here.targets_M[m] - 1]).sum()) if mode == "faithful" else own_ranks[row]
        )
        theirs = DISTRIBUTIONS.true_ranks[row]
        total = total + divergence * _paper_weight(float(mine), float(theirs))
    torch.testing.assert_close(objective(out), 4.0 * total / len(here.rows_M), rtol=1e-4, atol=1e-5)


def _paper_weight(mine: float, theirs: float) -> float:
    """As the paper writes w2 for the student."""
    if mine > theirs:
        return min(2.0, max(0.0, 1 + (mine - theirs) / max(theirs, 1)))
    return min(2.0, max(0.0, 1 - (theirs - mine) / max(mine, 1)))


def test_collaborative_embedding_as_published_adds_a_map_of_the_text_to_a_learnt_offset() -> None:
    """e_i = b_i + η · W z_i, z as the encoder gave it; PAD stays nothing."""
    model = student()
    offsets = model.items.weight.detach().clone()
    objective = embedding.Model(embedding.Config(name="embedding", mode="faithful", weight=0.3), model, TEACHER)
    objective.attach(model)
    texts = torch.from_numpy(TEACHER.item_vectors)  # type: ignore[arg-type]
    expected = offsets + 0.3 * texts @ objective.project.weight.T
    torch.testing.assert_close(model.item_table(), expected)
    torch.testing.assert_close(model.embed(torch.tensor([[PAD, 3]])), expected[[PAD, 3]][None])
    assert not expected[PAD].any()


@pytest.mark.parametrize("kind", get_args(Pooling))
def test_pooling(kind: str) -> None:
    """Over the items of a row alone: mean, softmax(γ · t), softmax(w · h + b), the last one, the largest components."""
    torch.manual_seed(0)
    pool, states_BTD = Pool(kind, 5, gamma=0.7), torch.randn(3, 6, 5)  # type: ignore[arg-type]
    real_BT = torch.arange(6) >= torch.tensor([[0], [2], [5]])
    expected = []
    for states_TD, real_T in zip(states_BTD, real_BT, strict=True):
        items_LD = states_TD[real_T]
        times_L = torch.arange(len(items_LD))
        logits = {"exponential": 0.7 * times_L, "mean": 0.0 * times_L}
        if pool.attention is not None:
            logits["attention"] = items_LD @ pool.attention.weight[0] + pool.attention.bias[0]
        ends = {"last": items_LD[-1], "max": items_LD.amax(0)}
        expected.append(ends[kind] if kind in ends else logits[kind].softmax(0) @ items_LD)
    torch.testing.assert_close(pool(states_BTD, real_BT), torch.stack(expected))


def test_soft_items_are_a_cross_entropy_towards_the_items_near_the_profile() -> None:
    model = student()
    out = output(model)
    config = soft_items.Config(name="soft_items", k=5, temperature=0.2, negatives=0)
    objective = soft_items.Model(config, model, TEACHER)
    users, items = torch.from_numpy(TEACHER.user_vectors), torch.from_numpy(TEACHER.item_vectors[1:])  # type: ignore[index, arg-type]
    near = functional.normalize(users - users.mean(0), dim=-1) @ functional.normalize(items - items.mean(0), dim=-1).T
    best = near[out.users_B].topk(5)
    logs_BN = (out.states[-1][:, -1] @ out.table_ND[1:].T).log_softmax(-1)
    each_B = ((best.values / 0.2).softmax(-1) * logs_BN.gather(1, best.indices)).sum(-1)
    torch.testing.assert_close(objective(out), -each_B.mean())


def test_soft_items_leave_out_a_newest_state_that_sees_its_own_item() -> None:
    model = student()
    out = output(model)
    objective = soft_items.Model(soft_items.Config(name="soft_items", negatives=0), model, TEACHER)
    seen_BT = out.targets_BT.clone()
    seen_BT[0, -1] = PAD
    masked = replace(out, targets_BT=seen_BT)
    alone = StudentOutput(
        [state[1:] for state in out.states],
        out.items_BT[1:],
        out.users_B[1:],
        out.targets_BT[1:],
        out.events_BT[1:],
        out.table_ND,
    )
    torch.testing.assert_close(objective(masked), objective(alone))
    seen_BT[:, -1] = PAD
    assert objective(replace(out, targets_BT=seen_BT)).item() == 0.0


def test_relations_are_the_mean_squared_difference_of_centred_cosines_over_pairs() -> None:
    model = student()
    out = output(model)
    objective = relational.Model(relational.Config(name="relational", among="users"), model, TEACHER)
    said, told = _mean_of_items(out.states[-1], out), torch.from_numpy(TEACHER.user_vectors)  # type: ignore[arg-type]
    said, told = said - said.mean(0), (told - told.mean(0))[out.users_B]
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    differences = [_cosine(said[i], said[j]) - _cosine(told[i], told[j]) for i, j in pairs]
    torch.testing.assert_close(objective(out), torch.stack(differences).square().mean())


def _cosine(one_D: torch.Tensor, other_D: torch.Tensor) -> torch.Tensor:
    return functional.cosine_similarity(one_D, other_D, dim=0)
