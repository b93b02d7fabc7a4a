"""The spot checks of a run: where the chain contradicts our tables, these are mended by the log, and compared again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared.settings import Kafka
from sweeper import observe, spot_checks
from sweeper.context import Context, Subject
from sweeper.model import Answer, Finding
from sweeper.report import SpotCoverage
from sweeper.spot_checks import SpotChecked, Spots


@dataclass(kw_only=True)
class Told:
    """What all spot checks of a run told. `findings`: of rows that looked right, and whose entity our tables had wrong."""

    answers: Counter[Answer] = field(default_factory=Counter)
    coverage: dict[str, SpotCoverage] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


async def run(
    context: Context, subjects: Sequence[Subject], found: Mapping[str, Sequence[Finding]], *, settings: Kafka
) -> Told:
    """Check the next entities of each table; those that contradict our tables are mended by the log and compared again."""
    told = Told()
    limit = context.settings.spot_checks
    spots: dict[str, Spots] = {}
    for subject in subjects:
        if limit and isinstance(subject, SpotChecked):
            spots[subject.table] = await spot_checks.check(
                context, subject, limit=limit, findings=found.get(subject.table, ())
            )
    contradictions = [one.contradicts for of_table in spots.values() for one in of_table.checked if one.contradicts]
    why_not = await observe.tell(context, contradictions, settings=settings)
    for subject in subjects:
        if subject.table not in spots:
            continue
        one = spots[subject.table]
        wrong = [checked.key for checked in one.checked if checked.contradicts]
        if wrong and why_not is None and isinstance(subject, SpotChecked):
            told.findings += await subject.look_at(context, wrong)
            again = {checked.key: checked for checked in await subject.spot_check(context, wrong)}
            one = replace(one, checked=[again.get(checked.key, checked) for checked in one.checked])
            told.notes.append(
                f"{subject.table}: the chain contradicted our tables in {len(wrong)}, which the log mended"
            )
        elif wrong:
            told.notes.append(f"{subject.table}: {len(wrong)} contradict our tables, which were not mended: {why_not}")
        told.answers += one.answers
        told.coverage[subject.table] = one.coverage
        told.notes += one.notes
    return told
