"""MLflow: runs of an experiment in a tracking store."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping

from bench.loggers.base import LOGGERS, Logger, Settings

SECONDS = 2.0  # between two batches, since each is a transaction or a request
MOST = 1000  # values in a batch: MLflow's limit
RETRIES = "2"  # of a request; MLflow's own 7 would hold up a run for minutes


@LOGGERS.register("mlflow")
class MLflow(Logger):
    """One MLflow run for each run; the experiment is the split."""

    name = "mlflow"
    summary = "Runs of MLflow. The place is a tracking URI, by default $MLFLOW_TRACKING_URI or sqlite:///mlflow.db."

    def __init__(self, place: str = "") -> None:
        super().__init__(place or os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"))
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
        from mlflow import entities
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._entities = entities
        self._client = MlflowClient
        self._waiting: list[object] = []
        self._sent = time.monotonic()

    def begin(self, title: str, key: str, settings: Settings) -> None:
        """Create the MLflow run, with the settings as its parameters."""
        if not self.place.startswith("http"):
            from mlflow.store.db import utils

            utils.MAX_RETRY_COUNT = 1  # to open a database; MLflow's own 10 would hold up a run for minutes
        self._tracking = self._client(tracking_uri=self.place)
        name = str(settings["split"])
        experiment = self._tracking.get_experiment_by_name(name)
        number = self._tracking.create_experiment(name) if experiment is None else experiment.experiment_id
        self._run = self._tracking.create_run(number, run_name=title, tags={"bench.key": key}).info.run_id
        parameters = [self._entities.Param(name, str(value)) for name, value in settings.items()]
        self._tracking.log_batch(self._run, params=parameters)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Collect values, and send them every few seconds."""
        now = int(1000 * time.time())
        # MLflow allows no @ in a name.
        self._waiting += [self._entities.Metric(n.replace("@", "_at_"), v, now, step) for n, v in values.items()]
        if len(self._waiting) > MOST - len(values) or time.monotonic() - self._sent > SECONDS:
            self._send()

    def end(self, scores: Mapping[str, float]) -> None:
        """Send the rest and the scores, and close the MLflow run."""
        self._send()
        self.add(0, {f"score/{metric}": value for metric, value in scores.items()})
        self._send()
        self._tracking.set_terminated(self._run, "FINISHED" if scores else "FAILED")

    def _send(self) -> None:
        self._tracking.log_batch(self._run, metrics=self._waiting)
        self._waiting, self._sent = [], time.monotonic()
