"""What becomes of a job when one answer of Buildkite's to its agent is lost.

docs/reference/vm.md says the same.
"""

import pytest

from agent_stack.domain.decisions import Action
from agent_stack.domain.states import JobState
from tests.simulator.buildkite import Operation
from tests.vm.harness import VmHarness
from tests.vm.test_agent_ends import PAGE, REAL, ROW, SEEN, last_try_decided

pytestmark = [pytest.mark.e2e, pytest.mark.share(2), pytest.mark.skipif(REAL, reason="a real agent takes minutes")]

NOTHING = "nothing"


@pytest.mark.parametrize("operation", list(SEEN))
@pytest.mark.share(6)
def test_a_lost_answer_ends_as_the_page_says(harness: VmHarness, operation: Operation) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0911", job_id, token)
    harness.buildkite.faults.lose_answer(operation)
    vm = harness.boot("i-0911")
    harness.ended(vm, seconds=60)
    code = harness.mail("i-0911")["detail"].partition(" ")[0]
    job = harness.buildkite.job(job_id)
    decided, detail = last_try_decided(harness, "i-0911", JobState(job.state.value))
    (row,) = [row for row in ROW.finditer(PAGE) if row["what"] == f"the answer to {SEEN[operation]} is lost"]
    assert (row["code"], row["job"].strip()) == (code, job.state.value)
    if row["page"].strip() == NOTHING:
        assert (decided.action, decided.notices, job.exit_status) == (Action.RUN, (), 0)
        assert row["run"].strip() == "finished"
        return
    assert row["run"].strip() == (decided.outcome or decided.action).value
    assert row["page"].strip() in (detail or " ".join(notice.text for notice in decided.notices))
