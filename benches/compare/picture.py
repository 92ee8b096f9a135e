#!/usr/bin/env python3
"""Draws the picture of the README from a record of `compare`.

    benches/compare/picture.py benches/compare/records/2026-11-30-1.json.gz > docs/figures.svg

It needs Python 3.10 and nothing else. A ratio is formed within a block, whose systems ran right after one another.
"""

import gzip
import json
import math
import sys
from html import escape
from statistics import median

OURS = "shm"
PIPE = "pipe"

#: What is drawn: the workload's name in the record, and what a reader calls it.
ROWS = {
    "round-trip-8": "round trip, 8 B",
    "round-trip-56": "round trip, 56 B",
    "round-trip-64k": "round trip, 64 KiB",
    "round-trip-8-one-cpu": "round trip, 8 B, one CPU",
    "wake-8": "both asleep, 8 B",
    "wake-8-one-cpu": "both asleep, 8 B, one CPU",
    "one-way-8": "one way, 8 B",
    "one-way-64": "one way, 64 B",
    "one-way-1k": "one way, 1 KiB",
    "one-way-64k": "one way, 64 KiB",
    "one-way-1m": "one way, 1 MiB",
    "batch-8": "one way, batches of 64 × 8 B",
    "batch-64": "one way, batches of 64 × 64 B",
    "senders-4-8": "four senders, 8 B",
    "paced-1k-64": "CPU time at 1,000 messages/s",
}

WIDTH, LEFT, RIGHT, TOP, STEP = 860, 236, 566, 104, 26
PIPE_COLUMN, RIVAL_COLUMN = 628, 700

STYLE = """
.ground{fill:#ffffff} text{fill:#1f2328} .soft{fill:#59636e} .grid{stroke:#d1d9e0} .even{stroke:#59636e}
.pipe{fill:#0969da;stroke:#0969da} .rival{fill:#bc4c00;stroke:#bc4c00} text.lost{fill:#cf222e;font-weight:bold}
@media (prefers-color-scheme: dark){
.ground{fill:#0d1117} text{fill:#f0f6fc} .soft{fill:#9198a1} .grid{stroke:#3d444d} .even{stroke:#9198a1}
.pipe{fill:#4493f8;stroke:#4493f8} .rival{fill:#db8f3a;stroke:#db8f3a} text.lost{fill:#ff7b72}}
"""


def read(path):
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt") as file:
        return json.load(file)


def figures(cell):
    """The undisturbed figures of a cell by block; all the same way round, so that more is better."""
    per_second = cell["unit"] == "messages in a second"
    good = (one for one in cell["rounds"] if one.get("figure") and not one.get("disturbed"))
    return {one["block"]: one["figure"] if per_second else 1 / one["figure"] for one in good}


def ratios(cells, workload, system):
    ours, theirs = cells.get((workload, OURS)), cells.get((workload, system))
    if not ours or not theirs:
        return []
    ours, theirs = figures(ours), figures(theirs)
    return sorted(ours[block] / theirs[block] for block in ours if block in theirs)


def quantile(ordered, share):
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def is_rival(system, workload):
    """Whether a system is somebody else's way between processes, and does what the workload is about."""
    if system["role"] != "between processes" or system["label"].startswith("shmpipe"):
        return False
    never_sleeps = "sleep" in system["lacks"] or "blocking receive" in system["lacks"]
    return not (workload.startswith("wake") and never_sleeps)


def rows(record):
    cells = {(cell["workload"], cell["system"]): cell for cell in record["cells"] if cell.get("rounds")}
    found = []
    for workload, label in ROWS.items():
        beside_pipe = ratios(cells, workload, PIPE)
        rivals = [
            (found_ratios, system["name"])
            for system in record["systems"]
            if is_rival(system, workload) and (found_ratios := ratios(cells, workload, system["name"]))
        ]
        if not beside_pipe or not rivals:
            continue
        beside_rival, rival = min(rivals, key=lambda one: median(one[0]))
        found.append((label, beside_pipe, beside_rival, rival))
    # The cases that shmpipe loses come first.
    return sorted(found, key=lambda row: min(median(row[1]), median(row[2])))


def number(value):
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def draw(record, source):
    all_rows = rows(record)
    every = [value for _, a, b, _ in all_rows for value in (*a[:1], *a[-1:], *b[:1], *b[-1:])]
    low, high = min(0.5, min(every)) / 1.1, max(2, max(every)) * 1.1
    spread = math.log(high / low)

    def x(value):
        return LEFT + (RIGHT - LEFT) * math.log(value / low) / spread

    labels = {system["name"]: system["label"] for system in record["systems"]}
    machine = f"{record['cpu']}, Linux {record['kernel'].split('-')[0]}, {record['date']}, {source}"
    height = TOP + STEP * len(all_rows) + 76
    bottom = TOP + STEP * len(all_rows) - 8
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="13" role="img">',
        "<title>shmpipe beside the kernel pipe and beside the fastest rival of each workload</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        '<text x="16" y="26" font-size="16" font-weight="bold">shmpipe: how many times as fast</text>',
        '<text class="soft" x="16" y="46">Right of 1 shmpipe is faster, left of 1 it is slower. The worst cases come first.</text>',
        f'<circle class="pipe" cx="{LEFT + 6}" cy="68" r="5"/><text x="{LEFT + 18}" y="72">than a kernel pipe</text>',
        f'<rect class="rival" x="{LEFT + 163}" y="64" width="8" height="8"/>'
        f'<text x="{LEFT + 178}" y="72">than the fastest rival</text>',
        f'<text class="soft" x="{PIPE_COLUMN}" y="72" text-anchor="end">pipe</text>',
        f'<text class="soft" x="{RIVAL_COLUMN}" y="72" text-anchor="end">rival</text>',
    ]
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for value in (10**power, 2 * 10**power, 5 * 10**power):
            if low <= value <= high:
                kind = "even" if value == 1 else "grid"
                out.append(f'<line class="{kind}" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP - 18}" y2="{bottom}"/>')
                out.append(
                    f'<text class="soft" x="{x(value):.1f}" y="{bottom + 16}" text-anchor="middle" font-size="11">{value:g}</text>'
                )
    for index, (label, beside_pipe, beside_rival, rival) in enumerate(all_rows):
        y = TOP + STEP * index
        out.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(label)}</text>')
        for values, kind, height_of_mark in ((beside_pipe, "pipe", y - 4), (beside_rival, "rival", y + 4)):
            first, last, middle = x(quantile(values, 0.25)), x(quantile(values, 0.75)), x(median(values))
            out.append(
                f'<line class="{kind}" stroke-width="1.5" x1="{first:.1f}" x2="{last:.1f}" y1="{height_of_mark}" y2="{height_of_mark}"/>'
            )
            if kind == "pipe":
                out.append(f'<circle class="{kind}" cx="{middle:.1f}" cy="{height_of_mark}" r="4.5"/>')
            else:
                out.append(f'<rect class="{kind}" x="{middle - 4:.1f}" y="{height_of_mark - 4}" width="8" height="8"/>')
        for values, column in ((beside_pipe, PIPE_COLUMN), (beside_rival, RIVAL_COLUMN)):
            lost = ' class="lost"' if median(values) < 1 else ""
            out.append(f'<text{lost} x="{column}" y="{y + 4}" text-anchor="end">{number(median(values))}</text>')
        name = labels[rival].removeprefix("kernel ") if rival.startswith("pipe") else rival
        out.append(f'<text class="soft" x="{RIVAL_COLUMN + 10}" y="{y + 4}">{escape(name)}</text>')
    out += [
        f'<text class="soft" x="{(LEFT + RIGHT) / 2}" y="{bottom + 34}" text-anchor="middle" font-size="11">'
        "times as fast, logarithmic scale</text>",
        f'<text class="soft" x="16" y="{height - 26}" font-size="11">'
        "Marks are medians of the ratios within a round. Lines span the middle half of the rounds."
        " Two CPUs unless it says one. Of CPU time, less is faster.</text>",
        f'<text class="soft" x="16" y="{height - 10}" font-size="11">{escape(machine)}</text>',
        "</svg>",
    ]
    return "\n".join(out) + "\n"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    path = sys.argv[1]
    sys.stdout.write(draw(read(path), path.rsplit("/", 1)[-1]))


if __name__ == "__main__":
    main()
