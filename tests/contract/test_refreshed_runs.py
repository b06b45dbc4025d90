"""What the dispatcher may expect of a ledger that does not read the runs with a VM again."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.identifiers import JobId
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Outcome
from agent_stack.ports import Ledger
from tests.contract.tables import AnyTables, Tables, another_process, bind, lose_next_answer
from tests.simulator.clock import EPOCH
from tests.unit.values import a_letter, a_run, a_vm

LATE = Failure(kind=FailureKind.TIMEOUT, words="late")


def another(tables: AnyTables) -> Ledger:
    """The ledger as a process sees it that has seen nothing yet."""
    return cast("Ledger", replace(cast("Any", tables.ledger)))


def by_job(runs: Iterable[Run]) -> dict[JobId, Run]:
    return {run.job_id: run for run in runs}


def test_runs_without_a_vm_are_as_they_are_stored(tables: AnyTables) -> None:
    first, second, third = tables.ledger.record([a_run(1), a_run(2), a_run(3)])
    other = another(tables)
    (changed,) = other.update([first.failing("why not")])
    other.end([second.ended(Outcome.RELEASED, now=EPOCH)])
    (added,) = other.record([a_run(4)])
    assert by_job(tables.ledger.refreshed_runs()) == by_job([changed, third, added])


def test_runs_with_a_vm_are_as_this_process_wrote_or_read_them(tables: AnyTables) -> None:
    written, read = tables.ledger.record([a_run(1), a_run(2)])
    (ours,) = bind(tables, written, a_vm(1))
    bound = read.bound(a_vm(2), now=EPOCH)
    (theirs,) = another(tables).bind([(bound, a_letter(bound, a_vm(2)))])
    assert by_job(tables.ledger.active_runs()) == by_job([ours, theirs])
    another(tables).end([run.ended(Outcome.FINISHED, now=EPOCH) for run in (ours, theirs)])
    assert by_job(tables.ledger.refreshed_runs()) == by_job([ours, theirs]), "they count until all runs are read"
    assert tables.ledger.active_runs() == []
    assert tables.ledger.refreshed_runs() == []


def test_a_run_that_lost_its_vm_is_there_without_it(tables: AnyTables) -> None:
    (run,) = tables.ledger.record([a_run()])
    (bound,) = bind(tables, run, a_vm())
    (requeued,) = another(tables).update([bound.requeued(LATE, now=EPOCH)])
    assert tables.ledger.refreshed_runs() == [requeued]
    assert tables.ledger.refreshed_runs() == [requeued]


def test_a_run_that_another_process_bound_since_keeps_its_vm(tables: AnyTables) -> None:
    """Otherwise its VM would look idle, and its job like one that no dispatcher knows."""
    (run,) = tables.ledger.record([a_run()])
    bound = run.bound(a_vm(), now=EPOCH)
    another(tables).bind([(bound, a_letter(bound, a_vm()))])
    assert tables.ledger.refreshed_runs() == [bound]


def test_a_binding_whose_answer_was_lost_is_seen(dynamo: Tables) -> None:
    (run,) = dynamo.ledger.record([a_run()])
    lose_next_answer(dynamo, "TransactWriteItems")
    (bound,) = bind(dynamo, run, a_vm())
    assert dynamo.ledger.refreshed_runs() == [bound]


def test_runs_that_have_a_vm_are_neither_sent_nor_parsed_again(dynamo: Tables) -> None:
    for number in range(20):
        (run,) = dynamo.ledger.record([a_run(number)])
        bind(dynamo, run, a_vm(number))
    sent: list[int] = []
    asked: list[str] = []

    def count(model: Any, parsed: dict[str, Any], **_: object) -> None:  # noqa: ANN401  (botocore's own)
        asked.append(model.name)
        sent.append(len(parsed.get("Items", ())))

    dynamo.client.meta.events.register("after-call.dynamodb", count)
    assert len(dynamo.ledger.refreshed_runs()) == 20
    assert (Counter(asked), sum(sent)) == ({"Query": 8}, 0)
    assert len(dynamo.ledger.active_runs()) == 20
    assert sum(sent) == 20


def test_a_run_without_a_signature_still_owns_its_vm(dynamo: Tables) -> None:
    """As after an operator changed an item by hand, or where an earlier version wrote it."""
    (run,) = dynamo.ledger.record([a_run()])
    (bound,) = bind(dynamo, run, a_vm())
    (item,) = [item for item in dynamo.items() if item["pk"]["S"].startswith("run#")]
    key = {name: item[name] for name in ("pk", "sk")}
    dynamo.client.update_item(TableName="LedgerTable", Key=key, UpdateExpression="REMOVE write_id")
    ledger = another_process(dynamo)
    assert ledger.active_runs() == [bound]
    assert ledger.refreshed_runs() == [bound]
