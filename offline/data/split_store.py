"""Split files: Parquet for ids, `.npy` for arrays, no pickle."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from retort.offline.data.ragged import IntArray, Ragged, load_array
from retort.offline.data.split import Cases, Split
from retort.shared.base.errors import DataError
from retort.shared.model.item_index import ItemIndex

FORMAT = 1


def save_split(split: Split, directory: Path) -> None:
    """Write a split into `directory`, which is created if necessary."""
    directory.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"user_id": pl.Series(split.user_ids, dtype=pl.String)}).write_parquet(directory / "users.parquet")
    pl.DataFrame({"item_id": pl.Series(split.item_index.ids, dtype=pl.String)}).write_parquet(
        directory / "item_index.parquet"
    )
    _save_ragged(split.train, directory, "train")
    if split.validation is not None:
        _save_cases(split.validation, directory, "validation")
    _save_cases(split.test, directory, "test")
    header = {"format": FORMAT, "protocol": split.protocol, "validation": split.validation is not None}
    # written last: a directory without it is incomplete, and `load_split` raises
    (directory / "split.json").write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")


def load_split(directory: Path) -> Split:
    """Read what `save_split` wrote.

    Raises:
        DataError: The directory is incomplete or has another format.
    """
    try:
        header = json.loads((directory / "split.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{directory} contains no complete split (split.json is missing); run the split step again."
        ) from None
    if header.get("format") != FORMAT:
        raise DataError(
            f"{directory} contains a split of format {header.get('format')!r}, not {FORMAT}; run the split step again."
        )
    return Split(
        header["protocol"],
        tuple(pl.read_parquet(directory / "users.parquet")["user_id"].to_list()),
        ItemIndex(pl.read_parquet(directory / "item_index.parquet")["item_id"].to_list()),
        _load_ragged(directory, "train"),
        _load_cases(directory, "validation") if header["validation"] else None,
        _load_cases(directory, "test"),
    )


def _save_ragged(ragged: Ragged, directory: Path, name: str) -> None:
    _save(ragged.values, directory, f"{name}_values")
    _save(ragged.offsets, directory, f"{name}_offsets")


def _load_ragged(directory: Path, name: str) -> Ragged:
    return Ragged(_load(directory, f"{name}_values"), _load(directory, f"{name}_offsets"))


def _save_cases(cases: Cases, directory: Path, name: str) -> None:
    _save(cases.users, directory, f"{name}_users")
    _save(cases.targets, directory, f"{name}_targets")
    _save_ragged(cases.histories, directory, f"{name}_histories")


def _load_cases(directory: Path, name: str) -> Cases:
    return Cases(
        _load(directory, f"{name}_users"),
        _load_ragged(directory, f"{name}_histories"),
        _load(directory, f"{name}_targets"),
    )


def _save(array: IntArray, directory: Path, name: str) -> None:
    path = directory / f"{name}.npy"
    if not (isinstance(array, np.memmap) and Path(str(array.filename)) == path.resolve()):  # else it is this file
        np.save(path, array, allow_pickle=False)


def _load(directory: Path, name: str) -> IntArray:
    return load_array(directory / f"{name}.npy")
