"""The provenance below a report: machine, software, images, weights, dates and commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.results.models import RunRecord

# Facts of one run; the others describe the machine and the software.
OF_ONE_RUN = ("command", "classes", "weights", "sizes", "network", "epoch", "at margin", "trained by", "job", "log")
CALLS = 12  # shown; `bench show RUN` prints that of one run
HEX = 16  # shown digits of a hash


def make_footer(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Each distinct environment, data and weights, and command, with the numbers of its runs."""
    lines = [f"{list_runs(ids)}: {text}." for ids, text in _group_runs(runs, describe_environment)]
    lines += [f"{list_runs(ids)}: {text}." for ids, text in _group_runs(runs, describe_identity)]
    starts, ends = [run.started for run in runs if run.started], [run.ended for run in runs if run.ended]
    if starts and ends:
        lines.append(f"Computed from {min(starts)} to {max(ends)}.")
    calls = _group_runs(runs, lambda run: str(run.environment.get("command", "")))
    lines += [
        f"{list_runs(ids)} {'was' if len(ids) == 1 else 'were'} called by `{text}`." for ids, text in calls[:CALLS]
    ]
    if len(calls) > CALLS:
        lines.append(f"{len(calls) - CALLS} more calls: see `bench show RUN`.")
    return tuple(lines)


def describe_environment(run: RunRecord) -> str:
    """The machine and the software of a run."""
    return ", ".join(f"{name} {value}" for name, value in run.environment.items() if name not in OF_ONE_RUN)


def describe_identity(run: RunRecord) -> str:
    """The first digits of the hashes of images, classes and weights; the commit that trained it, if different."""
    facts = {"split": run.split, "fingerprint": run.fingerprint[:HEX]}
    facts |= {name: str(run.environment[name]) for name in ("classes", "sizes", "weights") if run.environment.get(name)}
    trained_by = run.environment.get("trained by")
    return ", ".join(f"{name} {value}" for name, value in facts.items()) + (
        f", trained by commit {trained_by}" if trained_by else ""
    )


def _group_runs(runs: Sequence[RunRecord], text_of: Callable[[RunRecord], str]) -> list[tuple[list[int], str]]:
    """Ascending numbers of runs by the text that they share, in order of the first run; empty text is left out."""
    groups: dict[str, list[int]] = {}
    for run in runs:
        groups.setdefault(text_of(run), []).append(run.id)
    return [(ids, text) for ids, text in sorted((sorted(ids), text) for text, ids in groups.items()) if text]


def list_runs(ids: Sequence[int]) -> str:
    """``Run 7``, ``Runs 1-3, 7``."""
    return f"Run{'s' * (len(ids) > 1)} {format_ranges(ids)}"


def format_ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as ranges: ``1-3, 7``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
