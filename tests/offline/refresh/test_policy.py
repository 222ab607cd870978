"""Refresh policies: which users are due, in which order, what an update reads, and what a plan costs."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from retort.offline.profiles.backends._base import Prompt
from retort.offline.profiles.batch_writer import ProfileWriter
from retort.offline.profiles.config import ProfilesConfig, prompt_writers
from retort.offline.profiles.history import Catalogue, UserHistory
from retort.offline.profiles.store import Latest, ProfileKey, ProfileStore, Record
from retort.offline.refresh.cost import Prices, TokenModel, calibrate, plan_policy, plan_storage
from retort.offline.refresh.policy import RefreshPolicy, select_requests, tokens_of
from retort.offline.refresh.staleness import Staleness, drift, measure_staleness
from retort.offline.refresh.start import Refresh, latest_key, start_refresh
from retort.shared.base.errors import ProfileError
from retort.shared.db.migrate import upgrade
from retort.shared.db.models import now
from retort.shared.db.session import open_database
from retort.shared.profiles.profile_choices import edit_profile
from retort.shared.profiles.refreshes import RefreshError
from tests.offline.profiles._fakes import GOOD, NO_SERVER, catalogue, histories
from tests.offline.refresh._factory import worker

TOKENS = TokenModel(base=100.0, per_event=10.0, profile=50.0)
CONFIG = ProfilesConfig(backend="template", domain="movies", chunk_users=3)


def user(user_id: str, n_events: int, covered: int | None, days: float = 1.0, drifted: float = 0.0) -> Staleness:
    latest = None if covered is None else Latest("old", covered, now() - timedelta(days=days))
    n_new = n_events if covered is None else n_events - covered
    return Staleness(UserHistory(user_id, ["i1"] * n_events), latest, n_new, drifted)


CROWD = [
    user("nobody wrote of", 10, None),
    user("same as ever", 40, 40, days=90),
    user("two more", 12, 10),
    user("twice as many", 40, 20, drifted=0.02),
    user("changed", 22, 20, drifted=0.5),
]


@pytest.mark.parametrize(
    ("policy", "due"),
    [
        ({"name": "schedule", "max_age_days": 30}, {"nobody wrote of", "same as ever"}),
        ({"name": "events", "min_new_events": 5}, {"nobody wrote of", "twice as many"}),
        ({"name": "drift", "min_drift": 0.1}, {"nobody wrote of", "changed"}),
        ({"name": "budgeted"}, {"nobody wrote of", "two more", "twice as many", "changed"}),
        ({"name": "all"}, {age.history.user_id for age in CROWD}),
    ],
)
def test_policies_choose(policy: dict[str, object], due: set[str]) -> None:
    requests = select_requests(CROWD, RefreshPolicy.model_validate(policy), now(), TOKENS, None)
    assert {request.history.user_id for request in requests} == due


def test_users_with_the_highest_priority_come_first() -> None:
    order = [one.history.user_id for one in select_requests(CROWD, RefreshPolicy(name="all"), now(), TOKENS, None)]
    assert order.index("changed") < order.index("two more")
    assert order.index("twice as many") < order.index("two more")
    assert order[-1] == "same as ever"
    longer, shorter = user("long", 60, None), user("short", 2, None)
    assert longer.priority > shorter.priority


def test_a_budget_is_spent_by_priority_per_token() -> None:
    policy = RefreshPolicy(name="budgeted", max_tokens=700)
    bought = select_requests(CROWD, policy, now(), TOKENS, None)
    assert bought[0].history.user_id == "nobody wrote of"
    assert 0 < sum(tokens_of(one, TOKENS, None) for one in bought) <= 700
    assert len(select_requests(CROWD, RefreshPolicy(name="budgeted"), now(), TOKENS, None)) > len(bought)


def test_an_update_reads_the_old_profile_and_the_new_events() -> None:
    policy = RefreshPolicy(name="events", min_new_events=2, update=True, reread_after=0.5)
    requests = {one.history.user_id: one for one in select_requests(CROWD, policy, now(), TOKENS, None)}
    assert (requests["changed"].profile, requests["changed"].n_covered) == ("old", 20)
    assert requests["twice as many"].profile is None, "it grew by more than half: it is read anew"
    assert tokens_of(requests["changed"], TOKENS, None) == 100 + 2 * 10 + 50 + 50
    assert tokens_of(requests["twice as many"], TOKENS, 30) == 100 + 30 * 10 + 50


def test_drift_is_of_categories() -> None:
    facts = [Catalogue(catalogue()).facts(f"i{n}") for n in range(12)]
    assert drift(facts[:6], facts[:6]) == pytest.approx(0.0)
    assert drift([facts[0]], [facts[2]]) > 0.5
    assert drift([], facts) == 0.0


def test_staleness_is_measured_from_the_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'r.db'}"
    upgrade(url)
    store = ProfileStore(open_database(url))
    question, any_model = latest_key(CONFIG, NO_SERVER)
    assert not any_model
    store.save([Record("user-0", "h", question, "old", n_events=4), Record("user-1", "h", question, "old", n_events=6)])
    store.save([Record("user-2", "h", ProfileKey("whole", "another prompt", "m"), "old", n_events=6)])
    edit_profile(store._engine, "user-3", "mine")
    found = {
        age.history.user_id: age for age in measure_staleness(histories(4, 6), Catalogue(catalogue()), store, question)
    }
    assert {user_id: age.n_new for user_id, age in found.items()} == {"user-0": 2, "user-1": 0, "user-2": 6}
    assert found["user-0"].drift > 0
    assert found["user-2"].latest is None


def refresh(theirs: list[UserHistory], **given: object) -> Refresh:
    policy = RefreshPolicy.model_validate(given.pop("policy", {}))
    return Refresh("tiny", lambda: theirs, catalogue(), CONFIG, policy, **given)  # type: ignore[arg-type]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    url = f"sqlite:///{tmp_path / 'r.db'}"
    upgrade(url)
    return open_database(url)


def test_a_refresh_is_started_once_at_a_time(engine: Engine, tmp_path: Path) -> None:
    start_refresh(engine, refresh(histories(5, 6)), tmp_path, NO_SERVER)
    with pytest.raises(RefreshError, match="still pending"):
        start_refresh(engine, refresh(histories(5, 6)), tmp_path, NO_SERVER)
    first, backend = worker(engine)
    first.work_on()
    assert len(backend.asked) == 5


def test_updates_send_the_old_profile_to_the_model(tmp_path: Path) -> None:
    from retort.offline.common.progress import Silent
    from retort.offline.profiles.faithfulness import FaithfulnessChecker
    from retort.offline.profiles.profile_tasks import PriorProfile
    from retort.offline.profiles.report import ProfilesReport
    from tests.offline.profiles._fakes import ScriptedBackend, sqlite_store

    asked: list[Prompt] = []

    def answer(prompt: Prompt) -> str:
        asked.append(prompt)
        return GOOD

    known = Catalogue(catalogue())
    writer = ProfileWriter(
        CONFIG, sqlite_store(tmp_path), ScriptedBackend(answer), known, FaithfulnessChecker(known.vocabulary),
        ProfilesReport(""), Silent(),
    )  # fmt: skip
    writer.write_chunk(histories(2, 6), {"user-1": PriorProfile("What was known.", 4)})
    tasks = {len(prompt.events): prompt for prompt in asked}
    assert {n: prompt.task for n, prompt in tasks.items()} == {6: "write", 2: "update"}
    assert tasks[2].parts == ("What was known.",)


def test_imported_profiles_are_not_refreshed(engine: Engine, tmp_path: Path) -> None:
    ready = Refresh("ready", list, catalogue(), ProfilesConfig(backend="imported"), RefreshPolicy())
    with pytest.raises(ProfileError, match=r"profiles\.backend=openai"):
        start_refresh(engine, ready, tmp_path, NO_SERVER)


def test_listed_users_without_history_are_named(engine: Engine, tmp_path: Path) -> None:
    listed = refresh(histories(3), user_ids=frozenset({"user-1", "ghost"}))
    with pytest.raises(ProfileError, match="'ghost'"):
        start_refresh(engine, listed, tmp_path, NO_SERVER)


def test_tokens_are_fitted_on_real_prompts() -> None:
    known = Catalogue(catalogue())
    sample = [UserHistory(f"u{n}", [f"i{at % 12}" for at in range(n + 1)]) for n in range(30)]
    model = calibrate(sample, known, CONFIG, answer_tokens=80)
    (writer,) = prompt_writers(CONFIG)
    from retort.offline.profiles.backends._tokens import estimate_tokens

    for history in sample[::7]:
        events, _ = known.events(history, None)
        exact = estimate_tokens(writer.write(events).messages)
        # numbers are stated from four events on: shorter prompts are a little below the line
        assert model.prompt(len(events), False) == pytest.approx(exact, rel=0.05 if len(events) >= 4 else 0.1)


def test_a_plan_multiplies_what_was_measured() -> None:
    prices = Prices(
        usd_per_million_input=1.0, usd_per_million_output=2.0, usd_per_gpu_hour=3.0,
        prompt_tokens_per_s=1000.0, answer_tokens_per_s=100.0, gpus=4,
    )  # fmt: skip
    plan = plan_policy("all", 1e6, 20, False, TOKENS, prices)
    assert (plan.prompt_tokens, plan.answer_tokens, plan.api_usd) == (3e8, 5e7, 400.0)
    assert plan.gpu_hours == pytest.approx((3e5 + 5e5) / 3600)
    assert plan.wall_hours == pytest.approx((plan.gpu_hours or 0) / 4)
    assert plan.gpu_usd == pytest.approx((plan.gpu_hours or 0) * 3)
    assert plan_policy("all", 1e6, 20, False, TOKENS, Prices()).gpu_hours is None
    cached = Prices(usd_per_million_input=1.0, usd_per_million_cached_input=0.1, cached_share=0.5)
    assert plan_policy("all", 1e6, 20, False, TOKENS, cached).api_usd == pytest.approx(165.0)
    storage = plan_storage(1e8, 800, 128, 200)
    assert storage.vectors == 1e8 * 128 * 4
    assert storage.database > 8e10


def test_a_combination_of_aspects_adds_one_prompt() -> None:
    """It reads every aspect's profile and writes one of its own."""
    known, sample = Catalogue(catalogue()), [*histories(2, 3), *histories(2, 5)]
    told = {
        combine: calibrate(
            sample, known, ProfilesConfig(domain="movies", family="aspects", combine=combine), answer_tokens=80
        )
        for combine in (False, True)
    }
    apart, whole = told[False], told[True]
    assert apart.texts > 1
    assert whole.texts == apart.texts + 1
    assert whole.answer() - apart.answer() == 80
    assert whole.prompt(5, update=False) - apart.prompt(5, update=False) == pytest.approx(apart.base + apart.texts * 80)
