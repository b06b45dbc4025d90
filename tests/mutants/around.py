"""Mutants of the template."""

from tests.mutants.mutant import Layer, Mutant, one

_EVENTS = "tests/infra/test_events.py"

MUTANTS = (
    Mutant(
        layer=Layer.INFRA,
        name="repeat a schedule's invocation",
        changes=(
            (
                "template.yaml",
                (
                    '      ScheduleExpression: rate(1 minute)\n      FlexibleTimeWindow: { Mode: "OFF" }\n      Target:\n'  # noqa: E501
                    "        Arn: !GetAtt TrackerFunction.Arn\n        RoleArn: !GetAtt SchedulerRole.Arn\n"
                    "        RetryPolicy: { MaximumRetryAttempts: 0,"
                ),
                (
                    '      ScheduleExpression: rate(1 minute)\n      FlexibleTimeWindow: { Mode: "OFF" }\n      Target:\n'  # noqa: E501
                    "        Arn: !GetAtt TrackerFunction.Arn\n        RoleArn: !GetAtt SchedulerRole.Arn\n"
                    "        RetryPolicy: { MaximumRetryAttempts: 5,"
                ),
            ),
        ),
        tests=(_EVENTS,),
    ),
    one(
        Layer.INFRA,
        "let any rule of any account send to a queue",
        "template.yaml",
        "            Condition: { ArnEquals: { aws:SourceArn: !GetAtt JobsScheduled.Arn } }\n",
        "",
        _EVENTS,
    ),
    one(
        Layer.INFRA,
        "let any rule wake the tracker",
        "template.yaml",
        "            Condition:\n              ArnEquals:\n                aws:SourceArn:\n"
        "                  - !GetAtt InstanceChanges.Arn\n"
        "                  - !If [HasEventBus, !GetAtt JobsEnded.Arn, !Ref AWS::NoValue]\n",
        "",
        _EVENTS,
    ),
    one(
        Layer.INFRA,
        "expire the ledger by another attribute",
        "template.yaml",
        "TimeToLiveSpecification: { AttributeName: expires_at, Enabled: true }\n      PointInTime",
        "TimeToLiveSpecification: { AttributeName: expiry, Enabled: true }\n      PointInTime",
        _EVENTS,
    ),
    one(
        Layer.UNIT,
        "let ages stand still while Lambda has frozen the process",
        "functions/agent_stack/wiring/deployment.py",
        "        self.clock.thawed()\n",
        "",
        "tests/unit/adapters/test_system_clock.py",
    ),
)
