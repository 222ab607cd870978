"""The tables of offline experiments in the database, for `retort experiment publish`."""

from collections.abc import Sequence

from retort.offline.common.database import migrate_and_open
from retort.offline.experiments.publish import published_table
from retort.offline.experiments.results import load_results
from retort.offline.experiments.run_unit import Experiment
from retort.shared.base.settings import Settings
from retort.shared.model.offline_results import remove_table, store_table


def publish_tables(experiments: Sequence[Experiment]) -> list[str]:
    """Store the table of each experiment; returns a sentence for each."""
    tables = [published_table(load_results(experiment)) for experiment in experiments]
    engine = migrate_and_open(Settings())
    for table in tables:
        store_table(engine, table)
    return [f"{table.name}: {len(table.rows)} rows are on the console's page Experiments" for table in tables]


def remove_tables(names: Sequence[str]) -> list[str]:
    """Remove the stored tables of these names; returns a sentence for each."""
    engine = migrate_and_open(Settings())
    return [
        f"{name}: {'removed' if remove_table(engine, name) else 'there is no table of this name'}" for name in names
    ]
