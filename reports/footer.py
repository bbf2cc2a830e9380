"""The provenance below a report: on what the runs ran, of which images and weights, when, and how they were called."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.results.models import RunRecord

OF_ONE_RUN = (
    "command",
    "classes",
    "weights",
    "sizes",
    "network",
    "trained by",
    "job",
    "log",
)  # told apart from the machine's facts
CALLS = 12  # shown; `bench show RUN` has every run's
HEX = 16  # digits of a hash that are shown


def footer(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Every distinct environment, identity of images and weights, and call, each with the numbers of its runs."""
    lines = [f"{numbered(ids)}: {text}." for ids, text in _by(runs, environment)]
    lines += [f"{numbered(ids)}: {text}." for ids, text in _by(runs, identity)]
    begun, ended = [run.started for run in runs if run.started], [run.ended for run in runs if run.ended]
    if begun and ended:
        lines.append(f"Computed from {min(begun)} to {max(ended)}.")
    calls = _by(runs, lambda run: str(run.environment.get("command", "")))
    lines += [
        f"{numbered(ids)} {'was' if len(ids) == 1 else 'were'} called by `{text}`." for ids, text in calls[:CALLS]
    ]
    if len(calls) > CALLS:
        lines.append(f"{len(calls) - CALLS} more calls: `bench show RUN` tells each.")
    return tuple(lines)


def environment(run: RunRecord) -> str:
    """The machine and the program of a run."""
    return ", ".join(f"{name} {value}" for name, value in run.environment.items() if name not in OF_ONE_RUN)


def identity(run: RunRecord) -> str:
    """The images, classes and weights of a run: the starts of their hashes; the code that trained it, if another."""
    facts = {"split": run.split, "fingerprint": run.fingerprint[:HEX]}
    facts |= {name: str(run.environment[name]) for name in ("classes", "sizes", "weights") if run.environment.get(name)}
    trained_by = run.environment.get("trained by")
    return ", ".join(f"{name} {value}" for name, value in facts.items()) + (
        f", trained by commit {trained_by}" if trained_by else ""
    )


def _by(runs: Sequence[RunRecord], text_of: Callable[[RunRecord], str]) -> list[tuple[list[int], str]]:
    """Numbers of runs, ascending, and what they share, in order of the first run; what has no text is left out."""
    found: dict[str, list[int]] = {}
    for run in runs:
        found.setdefault(text_of(run), []).append(run.id)
    return [(ids, text) for ids, text in sorted((sorted(ids), text) for text, ids in found.items()) if text]


def numbered(ids: Sequence[int]) -> str:
    """``Run 7``, ``Runs 1-3, 7``."""
    return f"Run{'s' * (len(ids) > 1)} {ranges(ids)}"


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers in words: ``1-3, 7``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
