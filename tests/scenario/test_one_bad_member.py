"""One class, image, requirement or subnet that is wrong: the other classes do not notice, its own jobs are told why.

Every case plays in a warm process, into which the trouble comes, and after a cold start, which meets it.
"""

import json
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest

from tests.simulator.buildkite import JobState, Step
from tests.simulator.cloud import Image, Refusal, Subnet
from tests.simulator.simulation.nature import CLASSES_PARAMETER, QUICK, Nature, plain_ec2
from tests.simulator.simulation.simulation import Simulation

GOOD_IMAGE, BAD_IMAGE = "ami-0123456789abcdef0", "ami-0fedcba9876543210"
SUBNETS = {f"subnet-{zone}": Subnet(zone=f"eu-central-1{zone}") for zone in "ab"}
SLACK = timedelta(seconds=2)
"""How much later a job of another class may start than without the trouble."""

GOOD: dict[str, Any] = {"instance_types": ["m7i.large"], "image": GOOD_IMAGE, "boot_timeout_seconds": 60}
BAD: dict[str, Any] = {"instance_types": ["c7i.large"], "image": BAD_IMAGE, "boot_timeout_seconds": 60}
REFUSED_BY_POLICY = Refusal(code="UnauthorizedOperation", image=BAD_IMAGE, message="You are not authorized: image")

pytestmark = pytest.mark.share(6)
COLD_OR_WARM = pytest.mark.parametrize("warm", [True, False], ids=["in a running process", "at a cold start"])


def document(**bad: object) -> str:
    return json.dumps({"classes": {"default": GOOD, "bad": {**BAD, **bad}}, "default_class": "default"})


class Story:
    """A world with two classes, one of which is about to be wrong."""

    def __init__(self, *, warm: bool, classes: str = "", **ec2: Any) -> None:  # noqa: ANN401  (EC2's settings)
        self.simulation = Simulation(
            seed=3,
            nature=Nature(
                ec2=plain_ec2(**{"subnets": SUBNETS, **ec2}),
                latency=(0.05, 0.05),
                launch_latency=(1.0, 1.0),
                warm=warm,
                asks_for_classes=True,
            ),
            settings={
                **QUICK,
                "SUBNET_IDS": ",".join(ec2.get("subnets", SUBNETS)),
                "MAX_INSTANCES": "20",
                "IDLE_POLL_SECONDS": "1",
            },
            classes=document(),
        )
        self.simulation.run(150 if warm else 1)
        self.simulation.parameters.values[CLASSES_PARAMETER] = classes or document()

    def play(self) -> "Story":
        """The trouble is in force; jobs of both classes come, and come again."""
        self.simulation.run(75)  # a change of the document takes effect within a minute
        self.bad: list[str] = []
        self.good: list[tuple[str, datetime]] = []
        for _ in range(3):
            self.bad += self.push(2, "bad")
            self.good += [(job, self.simulation.kernel.now()) for job in self.push(2, "default")]
            self.simulation.run(45)
        return self

    def push(self, count: int, vm_class: str) -> tuple[str, ...]:
        step = Step(env={"SIM_SECONDS": "3"}, agents=[f"class={vm_class}"])
        build = self.simulation.buildkite.create_build(steps=[step] * count)
        return tuple(build.job_ids)

    def delays(self) -> list[timedelta]:
        """How long each job of the good class waited for its VM to be asked for."""
        launched = sorted(
            instance.launched_at for instance in self.simulation.ec2.instances() if instance.image_id == GOOD_IMAGE
        )
        return [launch - pushed for launch, (_, pushed) in zip(launched, self.good, strict=True)]

    def notes(self, job: str) -> str:
        """What the job's build page was told, and why it was finished."""
        told = self.simulation.buildkite.job(job)
        ended = told.stack_finish.detail if told.stack_finish else ""
        return " ".join([*(notification.detail for notification in told.notifications), ended])


@cache
def undisturbed(*, warm: bool) -> list[timedelta]:
    """The same world without trouble, and without the other class's jobs."""
    story = Story(warm=warm)
    push = story.push
    story.push = lambda count, vm_class: push(count, vm_class) if vm_class == "default" else ()  # type: ignore[method-assign]  # a world without them
    return story.play().delays()


def check(story: Story, words: str, *, warm: bool) -> None:
    """Jobs of the other class are as fast as ever, and those of the wrong one read EC2's words."""
    jobs = [story.simulation.buildkite.job(job) for job, _ in story.good]
    assert {(job.state, job.exit_status) for job in jobs} == {(JobState.FINISHED, 0)}
    for delay, best in zip(story.delays(), undisturbed(warm=warm), strict=True):
        assert delay <= best + SLACK
    assert not any(story.simulation.buildkite.job(job).exit_status == 0 for job in story.bad)
    assert words in story.notes(story.bad[0])
    assert story.simulation.buildkite.violations() == ()


@COLD_OR_WARM
@pytest.mark.parametrize(
    ("bad", "ec2", "words"),
    [
        (
            {},
            {"unknown_images": frozenset({BAD_IMAGE})},
            "InvalidAMIID.NotFound",
        ),
        (
            {"root_device": "/dev/sda1"},
            {},
            f"classes.bad.root_device: /dev/xvda is the root device of {BAD_IMAGE}, not",
        ),
        (
            {"root_device": "/dev/xvda"},
            {"images": {BAD_IMAGE: Image(root_device="/dev/sda1")}},
            f"classes.bad.root_device: /dev/sda1 is the root device of {BAD_IMAGE}, not",
        ),
        (
            {
                "instance_types": None,
                "instance_requirements": {
                    "architecture": "x86_64",
                    "vcpus_min": 3,
                    "vcpus_max": 3,
                    "memory_gib_min": 5,
                    "memory_gib_max": 5,
                },
            },
            {},
            "classes.bad.instance_requirements: no on-demand instance type has these attributes",
        ),
        ({"image": "resolve:ssm:/ci/image"}, {}, "classes.bad.image: parameter /ci/image: "),
        ({"volume_gib": "many"}, {}, "classes.bad.volume_gib: "),
    ],
    ids=["image gone", "root device", "the image's root device", "requirement", "image parameter", "field"],
)
def test_a_class_that_the_document_or_ec2_calls_wrong(
    bad: dict[str, object], ec2: dict[str, Any], words: str, *, warm: bool
) -> None:
    story = Story(warm=warm, classes=document(**bad), **({} if warm else ec2))
    if warm:  # the trouble comes while a process runs
        story.simulation.ec2.images.unknown |= ec2.get("unknown_images", frozenset())
        story.simulation.ec2.images.known |= ec2.get("images", {})
        story.simulation.run(3600)  # what EC2 said of an image is kept for an hour
    check(story.play(), words, warm=warm)


@COLD_OR_WARM
@pytest.mark.parametrize("denied", ["/ci/image", "/agent-stack/images/ci"])
def test_an_image_parameter_that_the_dispatcher_may_not_read(denied: str, *, warm: bool) -> None:
    story = Story(warm=warm, classes=document(image=f"resolve:ssm:{denied}"))
    story.simulation.parameters.denied.add(denied)
    words = f"classes.bad.image: parameter {denied}: the function's role may not read it"
    check(story.play(), words, warm=warm)


@COLD_OR_WARM
def test_a_class_that_a_policy_forbids(*, warm: bool) -> None:
    story = Story(warm=warm)
    story.simulation.ec2.faults.refuse(REFUSED_BY_POLICY)
    check(story.play(), "UnauthorizedOperation", warm=warm)


@COLD_OR_WARM
def test_a_subnet_that_is_gone_costs_nobody_a_job(*, warm: bool) -> None:
    story = Story(warm=warm)
    story.simulation.ec2.network.delete("subnet-a")
    story.play()
    jobs = [story.simulation.buildkite.job(job) for job in (*story.bad, *(job for job, _ in story.good))]
    assert {(job.state, job.exit_status) for job in jobs} == {(JobState.FINISHED, 0)}
    for delay, best in zip(story.delays(), undisturbed(warm=warm), strict=True):
        assert delay <= best + SLACK
    assert "subnet_gone" in story.simulation.telemetry.messages("ERROR")


@COLD_OR_WARM
def test_all_subnets_of_a_zone_are_used(*, warm: bool) -> None:
    few = {name: Subnet(zone="eu-central-1a", free_addresses=2) for name in ("subnet-a", "subnet-b", "subnet-c")}
    story = Story(warm=warm, subnets=few)
    jobs = story.push(6, "default")
    story.simulation.run(120)  # a schedule fires anywhere in its minute, and a boot follows
    assert {story.simulation.buildkite.job(job).exit_status for job in jobs} == {0}
    assert {instance.subnet_id for instance in story.simulation.ec2.instances()} == set(few)


def test_a_document_that_cannot_be_read_leaves_the_last_good_one_in_force() -> None:
    story = Story(warm=True, classes="{")
    story.play()
    assert {story.simulation.buildkite.job(job).exit_status for job, _ in story.good} == {0}
    assert "classes_not_refreshed" in story.simulation.telemetry.messages("ERROR")


@COLD_OR_WARM
def test_a_class_that_is_corrected_serves_the_jobs_that_waited(*, warm: bool) -> None:
    story = Story(warm=warm, classes=document(root_device="/dev/sda1"))
    story.simulation.run(75)
    jobs = story.push(2, "bad")
    story.simulation.run(60)
    assert {story.simulation.buildkite.job(job).state for job in jobs} == {JobState.SCHEDULED}
    story.simulation.parameters.values[CLASSES_PARAMETER] = document()
    story.simulation.run(100)
    assert {story.simulation.buildkite.job(job).exit_status for job in jobs} == {0}
    assert story.simulation.telemetry.messages("ERROR").count("class_broken") <= (4 if warm else 20)  # once a process
