"""Whether a re-run came to the result of the run it repeats, and what differs that could explain where it did not."""

from __future__ import annotations

from collections.abc import Mapping

from runner.errors import MlrunError
from runner.flow.follow import record_of
from runner.records.explain import explain
from runner.records.points import with_values
from runner.records.seal import parse
from runner.records.verdict import IDENTICAL, Difference, Tolerance, Verdict, compare
from runner.store.store import Store
from runner.worker.codec import encode
from runner.worker.facts import Request
from runner.worker.files import Json
from runner.worker.rundir import RunDirectory
from runner.worker.values import dataclass


@dataclass(frozen=True)
class Judgement:
    """A verdict, and the differences in code, parameters, packages, interpreter, machine and inputs."""

    before: str  # the id of the run that was repeated
    after: str
    verdict: Verdict
    causes: tuple[Difference, ...] = ()

    def to_json(self) -> Json:
        """Return it as JSON: the verdict's fields, the two runs, and the causes."""
        verdict = encode(self.verdict)
        assert isinstance(verdict, dict)
        return {**verdict, "before": self.before, "after": self.after, "causes": encode(self.causes)}


def judge(run: RunDirectory, store: Store, tolerances: Mapping[str, Tolerance]) -> Judgement:
    """Compare an ended re-run with the run it repeats; MlrunError where it repeats none, or that one is gone."""
    past = run.read(Request).rerun_of
    if past is None:
        message = f"the run {run.id} is no re-run"
        raise MlrunError(message, hint="`mlrun rerun ID` makes one, and compares it")
    repeated = store.find(past)
    before, after = parse(record_of(repeated, store)), parse(record_of(run, store))
    before, after = with_values((before, repeated), (after, run), store.objects)
    verdict = compare(before, after, tolerances, store.objects)
    causes = () if verdict.kind == IDENTICAL else explain(before, after, store.objects)
    return Judgement(past, run.id, verdict, causes)
