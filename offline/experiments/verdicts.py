"""What the numbers allow one to say, in sentences: a gain, its size, and how much of it the controls show too."""

from typing import Any

from offline.experiments.results import METRIC, Found, Row, against, difference_row


def verdicts(found: Found) -> list[str]:
    """One sentence an arm that is no control, and one for each of its controls."""
    sentences: list[str] = []
    for row in found.rows:
        if row.arm is None or row.arm.control or (gain := difference_row(found, row)) is None:
            continue
        sentences.append(_of_gain(row, gain))
        sentences += [_of_control(row, gain, control, found) for control in found.controls(row)]
        if gain["low"] > 0:
            sentences.append(_of_knowledge(row, gain, found))
    return sentences


def _of_gain(row: Row, gain: dict[str, Any]) -> str:
    word = "gain" if gain["low"] > 0 else "loss" if gain["high"] < 0 else "no gain shown"
    return (
        f"**{row.name} · {row.student}: {word}.** {METRIC} {percent(gain)}, p = {gain['p']:.2g}, "
        f"over {gain['users']:,} users and {gain['seeds']} seed(s)."
    )


def _of_control(row: Row, gain: dict[str, Any], control: Row, found: Found) -> str:
    shown = difference_row(found, control)
    if shown is None:
        return f"{control.name}: not measured against the baseline."
    told = f"  - control *{control.name}*: {percent(shown)}"
    if gain["difference"] <= 0:
        return f"{told}."
    share = shown["difference"] / gain["difference"]
    return f"{told}, share of the gain that it shows: {share:.0%}."


def _of_knowledge(row: Row, gain: dict[str, Any], found: Found) -> str:
    """A gain is knowledge only where the arm stands above every control of it, with its whole interval."""
    controls = found.controls(row)
    if not controls:
        return "  - no control arm was run: what the gain comes from is open."
    beyond = {control.name: against(control.ranks, row.ranks) for control in controls}
    alike = [name for name, compared in beyond.items() if compared.low <= 0]
    if alike:
        return f"  - **not knowledge**: {', '.join(alike)} show(s) it too (the arm is not above them beyond chance)."
    least = min(beyond.values(), key=lambda compared: compared.difference)
    return (
        f"  - knowledge: above every control, by {least.difference / gain['baseline']:+.1%} of the baseline at least."
    )


def percent(row: dict[str, Any]) -> str:
    """`+11.0 % [+8.1 %, +13.9 %]` of the baseline."""
    base = row["baseline"] or float("nan")
    return f"{row['difference'] / base:+.1%} [{row['low'] / base:+.1%}, {row['high'] / base:+.1%}]"
