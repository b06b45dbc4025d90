"""Events are hints: nothing repeats them, and only our rules and dispatcher send them. Records expire as we write."""

from typing import Any

from tests.simulator.deployment import translated_template


def resources(kind: str) -> dict[str, Any]:
    found = translated_template(region="eu-central-1")["Resources"]
    return {name: one for name, one in found.items() if one["Type"] == kind}


def test_no_asynchronous_event_is_invoked_again() -> None:
    """A repeated wake-up costs an invocation for nothing; the schedule comes each minute anyway."""
    configured = resources("AWS::Lambda::EventInvokeConfig")
    assert len(configured) == 2
    assert {one["Properties"]["MaximumRetryAttempts"] for one in configured.values()} == {0}
    retries = [one["Properties"]["Target"]["RetryPolicy"] for one in resources("AWS::Scheduler::Schedule").values()]
    assert [one["MaximumRetryAttempts"] for one in retries] == [0] * len(retries) != []


def test_only_our_own_rules_may_send_to_our_queues() -> None:
    """Any account's rule may act as events.amazonaws.com; the source tells whose it is."""
    policies = resources("AWS::SQS::QueuePolicy")
    assert policies
    for policy in policies.values():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Allow":
                assert "aws:SourceArn" in statement["Condition"]["ArnEquals"]
                assert "*" not in str(statement["Principal"])


def test_tables_expire_what_is_written_to_expire() -> None:
    tables = resources("AWS::DynamoDB::Table")
    assert len(tables) == 2
    for table in tables.values():
        assert table["Properties"]["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
