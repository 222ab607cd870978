"""Files of recipes: how they are found, read with what they extend, and changed by single keys."""

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from retort.shared.base.errors import RecipeError


def shipped_recipes() -> dict[str, Path]:
    """name → file of the shipped recipes."""
    folder = Path(str(files("retort.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_recipe(reference: str, directory: Path) -> tuple[str, dict[str, Any]]:
    """Read a recipe's name and content, after `extends`. A relative path starts at `directory`."""
    path = _find(reference, directory)
    return path.stem, _read(path, ())


def with_keys(raw: dict[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a recipe's content with values set by dotted keys, such as `student.dropout` or `objectives.0.weight`."""
    for key, value in keys.items():
        raw = _with(raw, key.split("."), value, f"{key}={value}")
    return raw


def with_override(raw: dict[str, Any], override: str) -> dict[str, Any]:
    """Copy a recipe's content with one value set by `key.path=value`."""
    path, value = parse_override(override)
    return _with(raw, path.split("."), value, override)


def parse_override(override: str) -> tuple[str, Any]:
    """Parse `section.key=value` into a dotted key and its value."""
    path, separator, text = override.partition("=")
    if not separator or not all(path.strip().split(".")):
        raise RecipeError(f"--set {override!r}: write it as section.key=value.")
    return path.strip(), _value(text.strip())


def _find(reference: str, directory: Path, extending: Path | None = None) -> Path:
    """Find a recipe; a file that extends a shipped recipe of its own name means the shipped one."""
    path, shipped = directory / reference, shipped_recipes()
    if path.suffix == ".toml" and path.is_file():
        return path
    if reference and "/" not in reference:
        named = path.with_suffix(".toml")
        if named.is_file() and (named != extending or reference not in shipped):
            return named
    if reference in shipped:
        return shipped[reference]
    near = get_close_matches(Path(reference).stem, shipped, n=3)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    raise RecipeError(
        f"there is no recipe {reference!r}; give an existing .toml file, or a name that `retort recipes` lists.{meant}"
    )


def _read(path: Path, before: tuple[Path, ...]) -> dict[str, Any]:
    if path in before:
        raise RecipeError(f"{path.name} extends itself; remove an `extends` from {' → '.join(p.name for p in before)}.")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"{path}: {error}; it must be TOML.") from None
    base = raw.pop("extends", None)
    if base is None:
        return raw
    return _merged(_without_options(_read(_find(str(base), path.parent, path), (*before, path)), raw), raw)


def _without_options(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Drop the base's options where `over` names a source: options belong to a source."""
    data, own = base.get("data"), over.get("data")
    if not isinstance(data, dict) or not isinstance(own, dict) or "source" not in own:
        return base
    return {**base, "data": {key: value for key, value in data.items() if key != "options"}}


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge tables key by key; replace anything else."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _with(node: Any, keys: list[str], value: Any, override: str) -> Any:
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(node, list):
        if not key.isdigit() or int(key) >= len(node):
            raise RecipeError(
                f"--set {override!r}: the list has {len(node)} entries, numbered from 0; {key!r} is not one."
            )
        position = int(key)
        return [*node[:position], _with(node[position], rest, value, override), *node[position + 1 :]]
    if not isinstance(node, dict):
        raise RecipeError(f"--set {override!r}: {key!r} is a key of a value; only sections have keys.")
    return {**node, key: _with(node.get(key, {}), rest, value, override)}


def _value(text: str) -> Any:
    """Parse a TOML value. Anything else is text, so that quotes may be omitted on a command line."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
