"""Faults for `doctor`: each as it looks in the world, and what must be said of it."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from infra.template_yaml import loads
from tests.cli.conftest import CLASSES, SOON, operators
from tests.cli.served import Served
from tests.simulator.buildkite import AGENT_TOKEN, Operation
from tests.simulator.cloud.images import Image
from tests.simulator.world import NAME, TOKEN_PARAMETER, Plan, World

HEALTHY = Plan(
    parameters={"ReservationSeconds": "700", "MaxInstances": "50"},
    classes=CLASSES,
    pending=(SOON, SOON),
    operators=operators(),
)
IMAGE = "ami-0123456789abcdef0"
FUNCTIONS = {"dispatcher", "tracker"}
OBSERVABILITY = Path(__file__).parents[2] / "infra/observability.yaml"


@contextmanager
def healthy_world(plan: Plan, before: Callable[[World], None] = lambda _: None) -> Iterator[Served]:
    """A stack whose functions run, and whose lines reach their log groups as far as the functions' roles allow.

    Args:
        before: what is done to the world before the functions run.
    """
    waiting: list[tuple[str, str]] = []
    with World(plan, on_line=lambda function, line: waiting.append((function, line))) as world:
        served = Served(world)
        served.lines = waiting
        before(world)
        world.start()
        retry_until = time.monotonic() + 60
        while served.leases_taken() < len(FUNCTIONS) or not _wrote(waiting) >= FUNCTIONS:
            assert time.monotonic() < retry_until, f"leases: {served.leases_taken()}, lines: {_wrote(waiting)}"
            time.sleep(0.2)
        yield served


def _wrote(lines: Sequence[tuple[str, str]]) -> set[str]:
    """The functions that have written a line which reaches their log."""
    return {function for function, line in list(lines) if line.startswith("{")}


def findings(served: Served, *words: str) -> list[dict[str, Any]]:
    """What doctor finds, after the functions' lines were delivered."""
    served.deliver()
    result = served.run("doctor", "--json", *words)
    read: list[dict[str, Any]] = json.loads(result.stdout)
    assert result.exit_code == (1 if any(f["severity"] == "error" for f in read) else 0), result.output
    return read


def put(served: Served, name: str, value: str, kind: str = "String") -> None:
    """Writes an SSM parameter."""
    served.world._client("ssm").put_parameter(Name=name, Value=value, Type=kind, Overwrite=True)


def _token(served: Served, value: str) -> None:
    put(served, TOKEN_PARAMETER, value, "SecureString")


def changed_class(**changes: object) -> str:
    """The class document with another class `default`."""
    document = json.loads(CLASSES)
    document["classes"]["default"] |= changes
    return json.dumps(document)


def _classes(text: str) -> Callable[[Served], None]:
    return lambda served: put(served, "/classes", text)


def _run(*words: str) -> Callable[[Served], None]:
    def run(served: Served) -> None:
        served.ok(*words)

    return run


def _alarm(state: str) -> Callable[[Served], None]:
    alarm = loads(OBSERVABILITY.read_text())["Resources"]["JobsFailedByStack"]["Properties"]

    def ring(served: Served) -> None:
        client, name = served.world._client("cloudwatch"), f"{NAME}-jobs-failed-by-stack"
        if not client.describe_alarms(AlarmNames=[name])["MetricAlarms"]:
            client.put_metric_alarm(
                AlarmName=name,
                AlarmDescription=alarm["AlarmDescription"],
                Namespace=alarm["Namespace"],
                MetricName=alarm["MetricName"],
                Dimensions=[{"Name": "Deployment", "Value": NAME}],
                Statistic="Sum",
                Period=60,
                EvaluationPeriods=1,
                Threshold=1,
                ComparisonOperator="GreaterThanThreshold",
            )
        client.set_alarm_state(AlarmName=name, StateValue=state, StateReason="planted")

    return ring


def _unrouted(served: Served) -> None:
    served.world.ec2.network.without_route.add(min(served.world.ec2.network.subnets))


def _image_gone(served: Served) -> None:
    served.world.ec2.images.unknown.add("ami-00000000000000bad")
    put(served, "/classes", changed_class(image="ami-00000000000000bad"))


def _no_logs(served: Served) -> None:
    served.wait_for_lease("dispatcher", timedelta(seconds=5))  # between two tenures nobody can say that it runs
    served.may_log.discard("dispatcher")
    served.forget_logs("dispatcher")


def _logs_again(served: Served) -> None:
    served.may_log.add("dispatcher")
    served.log("dispatcher", "stack_registered", queue="default")


def _good_token(served: Served) -> None:
    _token(served, AGENT_TOKEN)


def _quota(vcpus: int) -> Callable[[Served], None]:
    return lambda served: served.world.ec2.quotas.ceilings.update({"on-demand:standard": vcpus})


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One fault.

    Attributes:
        check, severity, problem, effect, remedy: what doctor must say of it, or a part of it.
        besides: other checks that find it, too.
    """

    plant: Callable[[Served], object]
    repair: Callable[[Served], object]
    check: str
    severity: str
    problem: str
    effect: str
    remedy: str
    besides: frozenset[str] = field(default_factory=frozenset)


_AGENT_TOKEN = "Put an agent token of the cluster into the SSM parameter that AgentTokenParameter names."
_LISTING = frozenset({"queue default"})
_CLASS = "Correct that class of the document: agent-stack classes validate"

FAULTS: dict[str, Planted] = {
    "wrong token": Planted(
        plant=lambda served: _token(served, "bkct_wrong"),
        repair=_good_token,
        check="token",
        severity="error",
        problem="401",
        effect="no job gets a VM",
        remedy=_AGENT_TOKEN,
        besides=_LISTING,
    ),
    "wrong token kind": Planted(
        plant=lambda served: _token(served, "bkua_0123456789"),
        repair=_good_token,
        check="token",
        severity="error",
        problem="The parameter holds a personal API access token, and no agent token.",
        effect="no job gets a VM",
        remedy=_AGENT_TOKEN,
        besides=_LISTING,
    ),
    "token gone": Planted(
        plant=lambda served: served.world._client("ssm").delete_parameter(Name=TOKEN_PARAMETER),
        repair=_good_token,
        check="token",
        severity="error",
        problem="there is no such parameter",
        effect="no job gets a VM",
        remedy=_AGENT_TOKEN,
        besides=_LISTING,
    ),
    "paused queue": Planted(
        plant=lambda served: served.world.buildkite.pause_queue("default"),
        repair=lambda served: served.world.buildkite.resume_queue("default"),
        check="queue default",
        severity="warning",
        problem="The queue is paused at Buildkite.",
        effect="Its jobs wait",
        remedy="Resume the queue on its page at Buildkite.",
    ),
    "job tokens not enabled": Planted(
        plant=lambda served: served.world.buildkite.faults.fail(
            Operation.ISSUE_ACQUISITION_TOKENS, status=403, message="not enabled for this organization", times=100
        ),
        repair=lambda served: served.world.buildkite.faults.clear(),
        check="job acquisition tokens",
        severity="error",
        problem="not enabled for this organization",
        effect="no job runs",
        remedy="AgentCredential=agent-token",
    ),
    "subnet without a route": Planted(
        plant=_unrouted,
        repair=lambda served: served.world.ec2.network.without_route.clear(),
        check="routes",
        severity="warning",
        problem="No route leads out of subnet-",
        effect="VMs there reach neither Buildkite nor AWS",
        remedy="a route 0.0.0.0/0 to an internet or a NAT gateway",
    ),
    "quota 5": Planted(
        plant=_quota(5),
        repair=lambda served: served.world.ec2.quotas.ceilings.clear(),
        check="quota on-demand:standard",
        severity="warning",
        problem="is 5 vCPUs: at most 2 VMs of default fit, and MaxInstances allows 50",
        effect="At most 2 of their jobs run at a time",
        remedy="(L-1216C47A), or scripts/deploy demo MaxInstances=2",
        besides=frozenset({"quota of class large"}),
    ),
    "class above the quota": Planted(
        plant=_quota(8),
        repair=lambda served: served.world.ec2.quotas.ceilings.clear(),
        check="quota of class large",
        severity="error",
        problem="is 8 vCPUs, and one VM of class large needs 16",
        effect="No VM of class large starts",
        remedy="give the class smaller types",
        besides=frozenset({"quota on-demand:standard"}),
    ),
    "image gone": Planted(
        plant=_image_gone,
        repair=_classes(CLASSES),
        check="class default",
        severity="error",
        problem="[ami-00000000000000bad]' does not exist",
        effect="No job of class default gets a VM.",
        remedy=_CLASS,
    ),
    "stale image": Planted(
        plant=lambda served: served.world.ec2.images.known.update(
            {IMAGE: Image(deprecated_at="2024-01-02T00:00:00.000Z")}
        ),
        repair=lambda served: served.world.ec2.images.known.clear(),
        check="image of classes default, large",
        severity="warning",
        problem=f"{IMAGE} is deprecated since 2024-01-02",
        effect="VMs start with it until its owner removes it",
        remedy="Name a newer image",
    ),
    "missing permission": Planted(
        plant=lambda served: served.world.ec2.faults.fail("CreateFleet", "UnauthorizedOperation", times=100),
        repair=lambda served: served.world.ec2.faults.clear(),
        check="class default",
        severity="error",
        problem="A dry run of its launch is refused: UnauthorizedOperation",
        effect="Jobs of class default get no VM",
        remedy="Give the dispatcher's role what the words name.",
        besides=frozenset({"class large"}),
    ),
    "reservation too short for the boot": Planted(
        plant=_classes(changed_class(boot_timeout_seconds=3000)),
        repair=_classes(CLASSES),
        check="timeouts",
        severity="error",
        problem="ReservationSeconds",
        effect="return to the queue",
        remedy="or the class's boot timeout lower. scripts/deploy demo ReservationSeconds=3360",
    ),
    "class document that is no JSON": Planted(
        plant=_classes("{"),
        repair=_classes(CLASSES),
        check="classes",
        severity="error",
        problem="the document is not JSON",
        effect="No job gets a VM.",
        remedy="Correct the class document: agent-stack classes validate",
        besides=frozenset({"quotas", "images"}),
    ),
    "class document with a misspelt field": Planted(
        plant=_classes(changed_class(max_instance=3)),
        repair=_classes(CLASSES),
        check="class default",
        severity="error",
        problem="classes.default.max_instance",
        effect="No job of class default gets a VM.",
        remedy=_CLASS,
    ),
    "class document with a field of its own": Planted(
        plant=_classes(json.dumps({**json.loads(CLASSES), "colour": "blue"})),
        repair=_classes(CLASSES),
        check="class document",
        severity="warning",
        problem="colour: there is no such field",
        effect="classes are not affected",
        remedy="Correct the class document: agent-stack classes validate",
    ),
    "default class that is none": Planted(
        plant=_classes(json.dumps({**json.loads(CLASSES), "default_class": "standard"})),
        repair=_classes(CLASSES),
        check="class document",
        severity="error",
        problem="default_class: 'standard' is not one of the classes",
        effect="Jobs that name no class get no VM.",
        remedy="Correct the class document: agent-stack classes validate",
    ),
    "log permission missing": Planted(
        plant=_no_logs,
        repair=_logs_again,
        check="logs of the dispatcher",
        severity="warning",
        problem="The dispatcher runs, and nothing of it is in its log group",
        effect="Alarms and the dashboard see nothing of it",
        remedy="logs:PutLogEvents",
    ),
    "an alarm that rings": Planted(
        plant=_alarm("ALARM"),
        repair=_alarm("OK"),
        check="alarm jobs-failed-by-stack",
        severity="warning",
        problem=f"ALARM since {datetime.now(UTC):%Y-}",
        effect="jobs",
        remedy="See docs/operations/alarms.md#jobs-failed-by-stack.",
    ),
    "paused by an operator": Planted(
        plant=_run("pause", "--reason", "forgotten"),
        repair=_run("resume"),
        check="pause",
        severity="warning",
        problem="forgotten",
        effect="Nothing is launched; jobs wait.",
        remedy=f"agent-stack resume --stack {NAME}",
    ),
}
