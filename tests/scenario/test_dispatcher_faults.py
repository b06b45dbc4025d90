"""What becomes of jobs when EC2 or Buildkite does not give what the dispatcher asks for."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from tests.simulator.buildkite import JobState, Operation, Step
from tests.simulator.cloud import Subnet
from tests.simulator.lambda_host import ANYWHERE, PUNCTUAL
from tests.simulator.simulation.nature import QUICK, Nature, plain_ec2
from tests.simulator.simulation.process import Fate
from tests.simulator.simulation.scenario import play
from tests.simulator.simulation.simulation import Simulation

pytestmark = pytest.mark.share(2)

ZONES = {f"subnet-{suffix}": Subnet(zone=f"eu-central-1{suffix}") for suffix in "abc"}
IMAGE = "ami-0123456789abcdef0"
CLASSES = """
{"classes": {
  "default": {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0", "boot_timeout_seconds": 60,
              "allow_instance_types": ["m7*.*"]},
  "spot": {"instance_types": ["c7i.large"], "market": "spot", "fallback_to_on_demand": true,
           "image": "ami-0123456789abcdef0", "boot_timeout_seconds": 60},
  "spot-only": {"instance_types": ["c7i.large"], "market": "spot", "image": "ami-0123456789abcdef0",
                "boot_timeout_seconds": 60}
}, "default_class": "default"}
"""


def world(
    jitter_seconds: tuple[float, float] = ANYWHERE,
    spot_max_price: str = "",
    **ec2: Any,  # noqa: ANN401  (EC2's settings)
) -> Simulation:
    simulation = Simulation(
        seed=1,
        nature=Nature(ec2=plain_ec2(**{"subnets": ZONES, **ec2}), jitter_seconds=jitter_seconds),
        settings={
            **QUICK,
            "SUBNET_IDS": ",".join(ZONES),
            "MAX_INSTANCES": "20",
            "SPOT_MAX_PRICE": spot_max_price,
        },
        classes=CLASSES,
    )
    simulation.run(2)
    return simulation


def push(simulation: Simulation, count: int, vm_class: str = "default") -> None:
    step = Step(env={"SIM_SECONDS": "3"}, agents=[f"class={vm_class}"])
    simulation.buildkite.create_build(steps=[step] * count)


def fleets(simulation: Simulation) -> list[str | None]:
    return [call.code for call in simulation.ec2.calls() if call.action == "CreateFleet"]


def ends(simulation: Simulation) -> Counter[str]:
    return Counter(
        f"{job.state} {job.exit_status}" if job.stack_finish is None else "finished by the stack"
        for job in simulation.buildkite.jobs()
    )


def test_spot_dry_in_two_zones_of_three_comes_from_the_third() -> None:
    simulation = world(capacity={f"spot:c7i.large:eu-central-1{zone}": 0 for zone in "ab"})
    push(simulation, 8, "spot-only")
    simulation.run(60)
    assert ends(simulation) == {"finished 0": 8}
    assert {(i.capacity_type, i.zone) for i in simulation.ec2.instances()} == {("spot", "eu-central-1c")}
    assert len(fleets(simulation)) == 1


def test_spot_dry_everywhere_falls_back_to_on_demand_where_the_class_allows_it() -> None:
    simulation = world(capacity={f"spot:c7i.large:eu-central-1{zone}": 0 for zone in "abc"})
    push(simulation, 8, "spot")
    simulation.run(60)
    assert ends(simulation) == {"finished 0": 8}
    assert {i.capacity_type for i in simulation.ec2.instances()} == {"on-demand"}
    assert len(fleets(simulation)) == 2
    push(simulation, 2, "spot")
    simulation.run(40)
    assert len(fleets(simulation)) == 3  # spot rests: nobody asks for it in vain


def test_spot_dry_everywhere_and_no_fallback_ends_with_ec2s_words() -> None:
    simulation = world(capacity={f"spot:c7i.large:eu-central-1{zone}": 0 for zone in "abc"})
    push(simulation, 2, "spot-only")
    simulation.run(200)
    assert ends(simulation) == {"finished by the stack": 2}
    (detail,) = {job.stack_finish.detail for job in simulation.buildkite.jobs() if job.stack_finish}
    assert "InsufficientInstanceCapacity" in detail
    assert len(fleets(simulation)) <= 3


def test_spot_above_the_operators_price_falls_back_to_on_demand_where_the_class_allows_it() -> None:
    simulation = world(spot_max_price="0.002")
    push(simulation, 3, "spot")
    simulation.run(60)
    assert ends(simulation) == {"finished 0": 3}
    assert {i.capacity_type for i in simulation.ec2.instances()} == {"on-demand"}
    push(simulation, 2, "spot")
    simulation.run(40)
    assert len(fleets(simulation)) == 3  # no further request for spot while its pools are unavailable


def test_spot_above_the_operators_price_and_no_fallback_ends_with_ec2s_words() -> None:
    simulation = world(spot_max_price="0.002")
    push(simulation, 1, "spot-only")
    simulation.run(200)
    assert ends(simulation) == {"finished by the stack": 1}
    (detail,) = {job.stack_finish.detail for job in simulation.buildkite.jobs() if job.stack_finish}
    assert "SpotMaxPriceTooLow" in detail


def test_jobs_that_choose_a_type_get_it_one_request_for_each_choice() -> None:
    simulation = world()
    for chosen in ("m7a.large", "m7g.xlarge", None, "m7a.large"):
        agents = [f"instance-type={chosen}"] if chosen else []
        simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "3"}, agents=agents)])
    simulation.run(60)
    assert ends(simulation) == {"finished 0": 4}
    assert Counter(i.instance_type for i in simulation.ec2.instances()) == {
        "m7a.large": 2,
        "m7g.xlarge": 1,
        "m7i.large": 1,
    }
    assert len(fleets(simulation)) == 3


def test_a_quota_lets_through_what_it_allows_and_the_rest_waits_its_turn() -> None:
    simulation = world(quotas={"on-demand:standard": 6})
    push(simulation, 5)
    simulation.run(5)
    simulation.run(400)
    assert ends(simulation)["finished 0"] >= 3
    assert simulation.buildkite.violations() == ()
    assert max(Counter(i.launched_at for i in simulation.ec2.instances()).values()) <= 3


@pytest.mark.parametrize("inside", [True, False], ids=["inside a good answer", "as a refusal"])
def test_a_throttle_for_a_minute_costs_a_minute_and_few_calls(inside: bool) -> None:  # noqa: FBT001  (which way)
    simulation = world()
    if inside:
        simulation.ec2.faults.errors_in_answer("RequestLimitExceeded", times=1_000)
    else:
        simulation.ec2.faults.fail("CreateFleet", "RequestLimitExceeded", status=503, times=1_000)
    push(simulation, 5)
    simulation.run(60)
    assert len(fleets(simulation)) <= (15 if inside else 60)  # each refusal is repeated four times at once
    simulation.ec2.faults.clear()
    simulation.run(90)
    assert ends(simulation) == {"finished 0": 5}


def test_an_image_that_is_gone_breaks_its_class_and_tells_its_jobs() -> None:
    simulation = world(PUNCTUAL, unknown_images=frozenset({IMAGE}))
    push(simulation, 3)
    simulation.run(30)
    assert len(fleets(simulation)) == 1
    push(simulation, 1)
    simulation.run(20)
    assert len(fleets(simulation)) == 1
    assert sum(job.state is JobState.SCHEDULED for job in simulation.buildkite.jobs()) == 1  # not taken in vain
    simulation.run(150)
    notices_sent = [job.stack_finish.detail for job in simulation.buildkite.jobs() if job.stack_finish]
    assert len(notices_sent) >= 3
    assert all("InvalidAMIID.NotFound" in detail for detail in notices_sent)
    assert len(fleets(simulation)) <= 4  # one of them a replay, where a shift ends before the answer


@pytest.mark.parametrize(
    ("code", "stops"),
    [
        ("PendingVerification", {"default", "spot"}),  # the account's: no class can be launched
        ("InvalidParameterValue", {"default"}),  # as for an image of another architecture than the types
    ],
)
def test_what_only_an_operator_can_mend_is_told_to_him_and_not_tried_again_and_again(
    code: str, stops: set[str]
) -> None:
    simulation = world(PUNCTUAL)
    simulation.ec2.faults.fail("CreateFleet", code, times=1)
    push(simulation, 2)
    simulation.run(20)
    push(simulation, 1, "spot")
    simulation.run(20)
    assert ("spot" in stops) == (len(fleets(simulation)) == 1)
    (refusal,) = [fields for level, said, fields in simulation.telemetry.records if said == "launch_partial"]
    assert refusal["code"] == code
    assert "launch_partial" in simulation.telemetry.messages("ERROR")
    simulation.run(150)
    assert ends(simulation)["finished by the stack"] + ends(simulation)["finished 0"] == 3


def test_a_full_subnet_is_passed_over() -> None:
    simulation = world(subnets={**ZONES, "subnet-a": Subnet(zone="eu-central-1a", free_addresses=2)})
    push(simulation, 6)
    simulation.run(60)
    assert ends(simulation) == {"finished 0": 6}
    assert Counter(i.zone for i in simulation.ec2.instances())["eu-central-1a"] == 2


def test_while_tokens_cannot_be_issued_no_vm_is_launched_for_nothing() -> None:
    simulation = world(PUNCTUAL)
    simulation.buildkite.faults.fail(Operation.ISSUE_ACQUISITION_TOKENS, times=1_000)
    push(simulation, 2)
    simulation.run(8)
    push(simulation, 4)
    simulation.run(30)
    assert len(simulation.ec2.instances()) <= 4
    simulation.buildkite.faults.clear()
    simulation.run(200)
    assert ends(simulation) == {"finished 0": 6}


def test_a_request_that_died_with_its_dispatcher_is_not_sent_for_a_queue_that_was_paused_since() -> None:
    simulation = world()
    simulation.judge = lambda at: Fate.DIES_AFTER if at == "dispatcher ledger.write_intent" else Fate.GOES_ON
    simulation.run(40)  # the next shift comes soon enough to send it still
    push(simulation, 2)
    while not simulation.crashes:
        simulation.run(1)
    simulation.judge = lambda _: Fate.GOES_ON
    simulation.buildkite.pause_queue("default")
    simulation.run(100)
    assert not simulation.ec2.instances()
    simulation.buildkite.resume_queue("default")
    simulation.run(250)
    assert ends(simulation) == {"finished 0": 2}


def test_nor_in_the_world_that_showed_it() -> None:
    assert play(554).broken is None


POINTS = 40


@pytest.mark.parametrize("first", range(0, POINTS, 8))
def test_a_queue_paused_between_any_two_steps_loses_nothing(first: int) -> None:
    for paused_at in range(first, first + 8):
        simulation = world()
        began = len(simulation.points)

        def pause(_: str, simulation: Simulation = simulation, at: int = began + paused_at) -> Fate:
            if len(simulation.points) == at:
                simulation.buildkite.pause_queue("default")
                simulation.laws.paused_since = simulation.kernel.now()
                simulation.kernel.after(timedelta(seconds=30), "", resume)
            return Fate.GOES_ON

        def resume(simulation: Simulation = simulation) -> None:
            simulation.buildkite.resume_queue("default")
            simulation.laws.paused_since = None

        simulation.judge = pause
        push(simulation, 2)
        simulation.run(150)
        assert ends(simulation) == {"finished 0": 2}, paused_at
        assert simulation.buildkite.violations() == ()
