"""Tables of the results database, and a stored run as a record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Integer, LargeBinary, Select, String, and_, insert, or_, select
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column

from bench.settings.post_processing import PostProcessing
from bench.settings.run_settings import RunSettings
from bench.settings.selection_rules import selection
from bench.types import Average, Relevance, Score

FROZEN = "imagenet"  # the method that trains nothing
DEFAULT_BACKBONES = ("tf_efficientnet_lite0", RunSettings.backbone)  # of datasets; their frozen rows are "imagenet"
LONG = BigInteger().with_variant(Integer, "sqlite")  # 64 bits; SQLite's integers have them anyway


class Base(DeclarativeBase):
    """Base of all tables; each change of a table needs a step in ``bench/results/migrations.py``."""


class ScoreRow(Base):
    """One value of one run; a new metric is a new row."""

    __tablename__ = "score"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), index=True)
    family: Mapped[str]  # mAP | P | acc | MRR | ...
    k: Mapped[int | None]  # None: all, or no number
    definition: Mapped[str]
    average: Mapped[str]  # queries | classes
    value: Mapped[float | None]  # None: no query had a relevant photo
    queries: Mapped[int]
    skipped: Mapped[int]


class DetailRow(Base):
    """Packed arrays of a run: per-query values, best photos, training curves."""

    __tablename__ = "detail"

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class LeaseRow(Base):
    """The claim of the one process that computes a key, valid while its heartbeat is recent."""

    __tablename__ = "lease"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    heartbeat: Mapped[float]  # seconds since 1970, UTC
    doing: Mapped[str]  # the current phase, such as "training 120/216"


class RunRecord(MappedAsDataclass, Base):
    """A stored run: what was asked, on which machine, how it ended, its scores. Times are UTC, ISO 8601.

    ``status`` is queued, running, done, failed, interrupted, pruned or superseded.
    """

    __tablename__ = "run"
    __allow_unmapped__ = True  # ``scores``, which have a table of their own

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(64), index=True)
    method: Mapped[str]
    ablation: Mapped[str]
    dataset: Mapped[str]
    split: Mapped[str]
    fingerprint: Mapped[str] = mapped_column(String(64))
    seed: Mapped[int] = mapped_column(LONG)
    selection: Mapped[str]
    gallery: Mapped[str]
    per_class_limit: Mapped[int | None] = mapped_column(LONG)
    configuration: Mapped[Mapping[str, Any]] = mapped_column(JSON)
    environment: Mapped[Mapping[str, Any]] = mapped_column(JSON)
    seconds: Mapped[Mapping[str, float]] = mapped_column(JSON)
    status: Mapped[str]
    failure: Mapped[str]
    started: Mapped[str]
    ended: Mapped[str]
    cost: Mapped[Mapping[str, float]] = mapped_column(JSON, default_factory=dict)
    request: Mapped[Mapping[str, Any]] = mapped_column(JSON, default_factory=dict)
    scores: tuple[Score, ...] = ()

    @property
    def title(self) -> str:
        """The name of the run in tables: method, recipe, ablation, post-processing, training split, rule, marks."""
        marks = (selection(self.selection).mark, self.origin)
        return name_method(self.method, self.ablation, self.configuration, *marks)

    @property
    def warning(self) -> str:
        """A sentence that every report must print: the default backbone was replaced. Empty without one."""
        settings = self.configuration.get("run", {})
        if not settings.get("instead_of"):
            return ""
        return (
            f"The ImageNet weights of {settings['instead_of']}, the default backbone, were not available: "
            f"{settings['backbone']} was used instead."
        )

    @property
    def relevance(self) -> Relevance:
        """What is relevant to a query: photos of its class, or the photo of its instance."""
        return "instance" if self.configuration.get("relevance") == "instance" else "class"

    @property
    def chance(self) -> float:
        """The acc@1 of a random order on a fine-grained split."""
        return float(self.configuration.get("chance", math.nan))

    @property
    def smoke(self) -> bool:
        """Whether the run or the training of its network was limited to some images a class."""
        checkpoint = self.configuration.get("checkpoint") or {}
        return self.per_class_limit is not None or checkpoint.get("limit") is not None

    @property
    def origin(self) -> str:
        """The mark of embeddings made elsewhere; ``unverified`` if they were not checked against the split."""
        external = self.configuration.get("external")
        return "" if external is None else "(external)" if external["verified"] else "(external, unverified)"

    def value(self, metric: str, average: Average = "queries") -> float:
        """The value of a metric id; NaN without one."""
        values = (each.value for each in self.scores if each.metric == metric and each.average == average)
        return next(values, math.nan)


def name_method(method: str, ablation: str, configuration: Mapping[str, Any], *marks: str) -> str:
    """The method of a run in tables: with recipe, ablation, post-processing, training split, ``marks``, stand-in.

    A frozen network has the name of its backbone, unless it is a default one.
    """
    settings = configuration.get("run", {})
    backbone, replaced = settings.get("backbone", DEFAULT_BACKBONES[0]), settings.get("instead_of")
    words = [
        method if method != FROZEN or backbone in DEFAULT_BACKBONES else f"frozen {backbone}",
        f"(recipe {configuration['recipe']})" if "recipe" in configuration else "",
        ablation,
        PostProcessing(**configuration.get("post", {})).title,
        trained_on(configuration),
        *marks,
        f"({backbone}: no weights of {replaced})" if replaced else "",
    ]
    return " ".join(filter(None, words))


def trained_on(configuration: Mapping[str, Any]) -> str:
    """The mark of a network from a checkpoint: its split, its limit, test classes it saw. Empty for another network.

    Its own split is named, too, so that no row of a table mixes trained and loaded networks.
    """
    checkpoint = configuration.get("checkpoint")
    if checkpoint is None:
        return ""
    saw, limit = len(checkpoint["saw"]), checkpoint.get("limit")
    marks = [f"smoke: {limit} images a class"] if limit is not None else []
    marks += [f"saw {saw} test class{'es' * (saw != 1)}"] if saw else []
    return f"trained on {checkpoint['split']}" + (f" ({', '.join(marks)})" if marks else "")


RUN_COLUMNS = tuple(RunRecord.__table__.columns.keys())


def id_columns(metric: str) -> dict[str, Any]:
    """A metric id as the columns of a score's row."""
    name, _, definition = metric.partition(":")
    family, _, k = name.partition("@")
    return {"family": family, "k": int(k) if k not in ("", "all") else None, "definition": definition}


def id_of(family: str, k: int | None, definition: str) -> str:
    """The metric id of a score's row; ``@all`` always has a definition.

    >>> id_of("mAP", None, "plain"), id_of("acc", 5, ""), id_of("MRR", None, "")
    ('mAP@all:plain', 'acc@5', 'MRR')
    """
    at = f"@{k}" if k is not None else "@all" if definition else ""
    return f"{family}{at}{definition and ':'}{definition}"


def insert_run(session: Session, columns: Mapping[str, Any]) -> int:
    """Insert a run inside the caller's transaction; returns its number."""
    return session.scalars(insert(RunRecord).values(**columns).returning(RunRecord.id)).one()


def insert_results(session: Session, run: int, scores: Sequence[Score], details: Mapping[str, bytes]) -> None:
    """Insert the scores and details of a run inside the caller's transaction."""
    for score in scores:
        value = None if math.isnan(score.value) else score.value
        facts = {"average": score.average, "value": value, "queries": score.queries, "skipped": score.skipped}
        session.add(ScoreRow(run_id=run, **id_columns(score.metric), **facts))
    session.add_all(DetailRow(run_id=run, name=name, content=content) for name, content in details.items())


def scores_by_run(
    session: Session, runs: Select[int] | None, metrics: Sequence[str] | None, averages: Sequence[Average]
) -> dict[int, list[Score]]:
    """Scores of these metric ids (None: all) and averages, by run; ``runs`` selects their numbers (None: all)."""
    columns = [each for each in ScoreRow.__table__.columns if each.name != "id"]
    query = select(*columns).where(ScoreRow.average.in_(averages)).order_by(ScoreRow.id)
    if metrics is not None:
        wanted = [[getattr(ScoreRow, name) == value for name, value in id_columns(each).items()] for each in metrics]
        query = query.where(or_(False, *(and_(*equal) for equal in wanted)))
    if runs is not None:
        query = query.where(ScoreRow.run_id.in_(runs))
    scores: dict[int, list[Score]] = {}
    for run, family, k, definition, average, value, queries, skipped in session.execute(query):
        score = Score(id_of(family, k, definition), average, math.nan if value is None else value, queries, skipped)
        scores.setdefault(run, []).append(score)
    return scores
