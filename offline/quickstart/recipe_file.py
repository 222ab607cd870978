"""Recipe file of the quickstart: TOML with a comment for each choice, to be edited and run again."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from retort.offline.quickstart.layout import Layout
from retort.offline.quickstart.recognised import Recognised
from retort.offline.quickstart.settings_by_size import TEXT_RMS, Setting
from retort.shared.base.disk import explained_full_disk

TEXT_START = "text_start"
_SECTION_ORDER = ("student", "training", "encoder", "evaluation")


def data_section(found: Recognised) -> dict[str, Any]:
    """Return the recipe's `[data]` for recognised files; paths are relative to the log's directory."""
    columns = found.columns
    options: dict[str, Any] = {
        "interactions": found.events.path.name,
        "user_id": columns.user.column,
        "item_id": columns.item.column,
    }
    if columns.time:
        options["timestamp"] = columns.time.column
        if columns.moment and columns.moment.format:
            options["time_format"] = columns.moment.format
    elif columns.position:
        options["position"] = columns.position.column
    if found.weights and columns.type:
        options["event_type"], options["event_weights"] = columns.type.column, found.weights
    elif columns.rating:
        options["weight"] = columns.rating.column
    section: dict[str, Any] = {"source": "table", "options": options}
    layouts: dict[str, Layout] = {"interactions": found.events}
    if found.items and found.item_columns:
        items = found.item_columns
        layouts["items"] = found.items
        options["items"] = _relative(found.items.path, found.events.path)
        if items.item != columns.item.column:
            options["items_item_id"] = items.item
        if items.title and items.title != "title":
            options["title"] = items.title
        if items.lists:
            options["lists"] = items.lists
        section["text_columns"] = list(items.attributes)
    options.update(_reading(layouts))
    return section


def _relative(path: Path, beside: Path) -> str:
    """Return the path as the recipe writes it: its name beside the log, absolute elsewhere."""
    path, directory = path.resolve(), beside.resolve().parent
    return path.name if path.parent == directory else os.fspath(path)


def _reading(layouts: Mapping[str, Layout]) -> dict[str, Any]:
    """Return separator, encoding and header of the files that need them."""
    unusual = {file: layout for file, layout in layouts.items() if not layout.usual}
    options: dict[str, Any] = {}
    if separators := {file: layout.separator for file, layout in unusual.items()}:
        options["separator"] = separators
    if encodings := {file: layout.encoding for file, layout in unusual.items() if layout.encoding != "utf-8"}:
        options["encoding"] = encodings
    if headers := {file: layout.frame.columns for file, layout in unusual.items() if not layout.header}:
        options["header"] = headers
    return options


def recipe_text(found: Recognised, data: Mapping[str, Any], settings: Sequence[Setting], command: str) -> str:
    """Return the commented recipe.

    Args:
        found: What was recognised; it becomes the first comment.
        data: The section `[data]`.
        settings: Keys of `[data]` and of the other sections with their reasons.
        command: The command that made the recipe.
    """
    lines = [f"# Written by `{command}`. Edit it and run the command again, or delete it."]
    lines += ["#", *(f"# {line}" for line in found.lines()), ""]
    lines += ['extends = "shop"', f"description = {_toml(f'Quickstart of {found.events.path.name}')}", "", "[data]"]
    lines += [f"{key} = {_toml(value)}" for key, value in data.items() if key != "options"]
    lines += _keys("data", settings)
    lines += ["", "[data.options]", *(f"{key} = {_toml(value)}" for key, value in data["options"].items())]
    for section in _SECTION_ORDER:
        if keys := _keys(section, settings):
            lines += ["", f"[{section}]", *keys]
    if found.items:
        lines += ["", "# the second student starts from the items' texts; without this it is the plain one"]
        rms = [setting for setting in settings if setting.key == TEXT_RMS]
        lines += ["[[objectives]]", f'name = "{TEXT_START}"', *map(_line, rms)]
    return "\n".join(lines) + "\n"


def save_recipe(path: Path, text: str) -> None:
    """Write a recipe; after a failure there is no part of it, which the next run would take for the whole."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with explained_full_disk(path):
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _keys(section: str, settings: Sequence[Setting]) -> list[str]:
    """Return the lines of one section's keys."""
    of_section = [setting for setting in settings if setting.key.startswith(f"{section}.")]
    return [_line(setting) for setting in of_section]


def _line(setting: Setting) -> str:
    return f"{setting.key.rpartition('.')[2]} = {_toml(setting.value)}  # {setting.reason}"


def _toml(value: Any) -> str:
    """Return a value as TOML; its strings, numbers and booleans are written as in JSON."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_toml(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return orjson.dumps(value).decode().replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("_", "").replace("-", "").isalnum() else _toml(name)
