"""A table whose rows have several figures each: a line for a figure, a column for a peer, and rsp's as ratios to theirs."""

from dataclasses import dataclass, field

import rows


@dataclass
class Line:
    """One figure of a row. `wanted` is the most that rsp's may be, as a ratio to a peer's or as such."""

    title: str
    key: str
    form: str = ".1f"
    wanted: dict = field(default_factory=dict)


def as_markdown(measured, peers):
    """The table; `measured` is a list of (row, [{peer: figures} for each round]), `peers` has their titles, rsp's first."""
    others = {name: title for name, title in peers.items() if name != "rsp"}
    heads = [*peers.values(), *(f"rsp ÷ {title}" for title in others.values()), "wanted"]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}---|"]
    for row, results in measured:
        for line in row.lines:
            figures = [rows.figure(rows.median(results, peer, line.key), line.form) for peer in peers]
            ratios = [rows.figure(_ratio(line, results, peer), ".2f") for peer in others]
            lines.append(f"| {line.title} | {' | '.join(figures + ratios)} | {_wanted(line, peers)} |")
    return "\n".join(lines)


def _ratio(line, results, peer):
    # A ratio of its own has none, nor has a count that may be nothing.
    return None if line.key in ("ratio", "left") else rows.ratio(results, peer, line.key)


def _wanted(line, peers):
    ratios = [f"≤ {most:g} × {peers[unit]}" for unit, most in line.wanted.items() if unit in peers]
    return ", ".join(ratios + [f"≤ {most:g} {unit}".strip() for unit, most in line.wanted.items() if unit not in peers])
