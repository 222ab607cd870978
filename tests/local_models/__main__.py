"""Builds the local models: `python -m tests.local_models FOLDER [NAME ...]`; models that are there are left alone."""

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.local_models.e5_small import build as build_e5_small
from tests.local_models.gguf_models import build_gemma3, build_smollm2

BUILDERS: dict[str, Callable[[Path, Path], None]] = {
    "multilingual-e5-small": build_e5_small,
    "smollm2": build_smollm2,
    "gemma3-270m": build_gemma3,
}


def build_model(name: str, folder: Path) -> bool:
    """Build one model unless it is there; a folder appears only when it is complete."""
    out, partial = folder / name, folder / f"{name}.partial"
    if out.exists():
        return False
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with TemporaryDirectory() as work:
        BUILDERS[name](partial, Path(work))
    partial.rename(out)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BUILDERS)}; none: all")
    args = parser.parse_args()
    if unknown := set(args.names) - set(BUILDERS):
        parser.error(f"unknown model {sorted(unknown)[0]!r}; models are {', '.join(BUILDERS)}")
    for name in args.names or BUILDERS:
        started_s = time.monotonic()
        built = build_model(name, args.folder)
        print(f"{name}: {f'built in {time.monotonic() - started_s:.0f} s' if built else 'already there'}", flush=True)


if __name__ == "__main__":
    main()
