"""A log and an items' table of a small shop, as files that somebody exported."""

import random
from pathlib import Path


def write_files(path: Path) -> None:
    """Users of two tastes: half choose among jazz records, half among garden tools."""
    dice = random.Random(3)
    lines = ["customer;sku;at"]
    for user in range(120):
        taste = user % 2 * 20
        for day in range(8):
            lines.append(f"c{user};A{taste + dice.randrange(20)};{1 + day:02}.03.2025 {dice.randrange(24):02}:00")
    (path / "log.csv").write_text("\n".join(lines))
    kinds = ("Jazz record", "Garden tool")
    titles = [f"A{n};{kinds[n // 20]} number {n};{kinds[n // 20]}" for n in range(40)]
    (path / "items.csv").write_text("\n".join(["sku;title;kind", *titles]))
