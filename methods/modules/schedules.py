"""Learning-rate schedules by name, for the setting ``schedule``.

Each is a function of the step (from 0), the number of steps and the run's settings. It returns the learning rate
divided by the highest one. A schedule has no state, so a resumed training continues exactly.
"""

from __future__ import annotations

import math

from bench.settings.run_settings import SCHEDULES, RunSettings


@SCHEDULES.register("constant")
def constant(step: int, steps: int, run: RunSettings) -> float:
    """The highest learning rate throughout."""
    return 1.0


@SCHEDULES.register("exponential")
def exponential(step: int, steps: int, run: RunSettings) -> float:
    """Down to 1/1000 at the end."""
    return float(0.001 ** (step / steps))


@SCHEDULES.register("one-cycle")
def one_cycle(step: int, steps: int, run: RunSettings) -> float:
    """Linear warm-up over a share ``run.warmup`` of the steps, then half a cosine to 0."""
    rising = run.warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))
