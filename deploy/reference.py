"""Generator of the reference pages cli.md, settings.md and metrics.md: `python -m deploy.reference docs/reference`.

Each page is made from the code: the Typer application, the settings classes and the metric registries. It is written
without a server, a database or settings from the environment.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from retort.offline.cli.main import app
from retort.offline.monitoring import families
from retort.serving.runtime.metrics import Metrics
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.settings import EmbeddingSettings, LanguageModelSettings, Settings

_AGAIN = "This page is generated from the code by `make reference`."
_FILES = ("cli.md", "settings.md", "metrics.md")


def pages() -> dict[str, str]:
    """Returns the content of each page by its file name."""
    return dict(zip(_FILES, (cli_page(), settings_page(), metrics_page()), strict=True))


def cli_page() -> str:
    """Returns the reference of the command line: each command with its arguments and options."""
    lines = ["# Command line", "", _AGAIN, "`retort COMMAND --help` shows the same in a terminal.", ""]
    lines += [
        "Exit status: 0 success · 1 a check found a problem · 2 the command could not run and says why",
        "· 130 interrupted, 143 terminated by SIGTERM: finished work is kept.",
    ]
    for name, command in _commands(typer.main.get_command(app), ""):
        lines += ["", f"## retort {name}", "", _text(command.help)]
        rows = [_parameter(parameter) for parameter in command.params if parameter.name != "help"]
        if rows:
            lines += ["", "| Option | Meaning |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from _commands(child, f"{path} {name}".strip())


def _parameter(parameter: Any) -> str:
    named = [name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-")]
    shown = ", ".join(f"`{name}`" for name in named) or f"`{parameter.name.upper()}`"
    notes = ["required"] if parameter.required else []
    default = parameter.default
    if isinstance(default, (int, float, str, Path)) and not isinstance(default, bool) and default != "":
        notes.append(f"default `{getattr(default, 'value', default)}`")
    return _row(shown, _text(getattr(parameter, "help", None)) + (f" ({'; '.join(notes)})" if notes else ""))


def settings_page() -> str:
    """Returns the reference of environment variables."""
    lines = ["# Settings", "", _AGAIN]
    lines += [
        "Settings are environment variables. `retort`, `retort-serve` and Docker Compose also read the file `.env`.",
        "An empty variable counts as unset. "
        "The value `null` unsets a variable of serving (`RETORT_…` below) that `.env` sets.",
        "Addresses and passwords can come from a file:",
        "`DATABASE_URL_FILE=/run/secrets/…`.",
    ]
    for title, kind, prefix in (
        ("Shared by all programs", Settings, ""),
        ("Language model", LanguageModelSettings, ""),
        ("Embeddings server", EmbeddingSettings, ""),
        ("Serving", ServingSettings, "RETORT_"),
    ):
        rows = [_setting(prefix + name.upper(), field) for name, field in kind.model_fields.items()]
        lines += ["", f"## {title}", "", "| Variable | Default | Meaning |", "|---|---|---|", *rows]
    lines += [
        "",
        "## Example file",
        "",
        "`.env.example` also has the variables of Docker Compose:",
        "",
        "```ini",
        '--8<-- ".env.example"',
        "```",
    ]
    return "\n".join(lines) + "\n"


def _setting(name: str, field: FieldInfo) -> str:
    meaning = _text(field.description)
    if get_origin(field.annotation) is Literal:
        meaning += f" ({', '.join(f'`{value}`' for value in get_args(field.annotation))})"
    return _row(f"`{name}`", _default(field), meaning)


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is None or default == ():
        return "unset"
    if isinstance(default, BaseModel) or hasattr(default, "get_secret_value"):
        return "see below"
    if isinstance(default, tuple):
        return f"`{json.dumps(default)}`"
    if isinstance(default, dict):
        return ", ".join(f"`{key}` {value:g}" for key, value in default.items())
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def metrics_page() -> str:
    """Returns the reference of metrics: name, type, labels and help text."""
    lines = ["# Metrics", "", _AGAIN, "What to do about each one is in the [runbook](../operations.md#metrics)."]
    lines += ["", "## Serving", "", "Every API process shows these at `/metrics`.", "", *_HEAD]
    lines += sorted(_metric(*metric) for metric in _served())
    lines += ["", "## `retort metrics`", "", "One process for the whole system shows these.", "", *_HEAD]
    lines += sorted(_metric(*metric) for metric in _exported())
    return "\n".join(lines) + "\n"


_HEAD = ("| Metric | Type | Labels | Meaning |", "|---|---|---|---|")


def _metric(name: str, kind: str, labels: tuple[str, ...], text: str) -> str:
    return _row(f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels), _text(text))


def _served() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    registry: Any = Metrics().registry
    for collector in registry._collector_to_names:
        family = next(iter(collector.collect()), None)
        if family is not None:
            name = family.name + ("_total" if family.type == "counter" else "")
            yield name, family.type, tuple(getattr(collector, "_labelnames", ())), family.documentation


def _exported() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    for name in families.NAMES:
        family: Any
        if name.endswith("_bucket"):
            family = families.ages()
        elif name.endswith("_total"):
            family = families.counter(name.removesuffix("_total"))
        else:
            family = families.gauge(name)
        yield name.removesuffix("_bucket"), family.type, tuple(family._labelnames), family.documentation


def _text(text: str | None) -> str:
    return " ".join((text or "").split()).replace("\\b", "").strip()


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def write(directory: Path) -> None:
    """Writes the pages into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in pages().items():
        (directory / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
