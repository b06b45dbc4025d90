"""Times and classes that cannot work together are found when they are deployed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_stack.adapters.ssm.class_document import ClassEntry
from agent_stack.domain.classes import ClassBook, VmClass
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.standby_schedule import Standby
from agent_stack.domain.timeout_check import RESERVATION_MARGIN, validate_standby, validate_timeouts
from agent_stack.wiring.deployment import Deployment
from tests.simulator.aws import AwsServer
from tests.unit.values import a_policy, an_environment


def with_standby(*, boot: int, minutes: int) -> ClassBook:
    book = a_book(slow=boot, plain=3240)
    wants = Standby(hot=2, max_age=timedelta(minutes=minutes))
    slow = replace(book.classes[ClassName("slow")], standby=wants)
    return replace(book, classes={**book.classes, slow.name: slow})


def a_book(**boot_timeouts: int) -> ClassBook:
    classes = {
        ClassName(name): VmClass(
            name=ClassName(name), instance_types=("m7i.large",), image="ami-1", boot_timeout=timedelta(seconds=seconds)
        )
        for name, seconds in boot_timeouts.items()
    }
    return ClassBook(classes=classes, default=next(iter(classes)))


def test_a_reservation_outlasts_the_slowest_boot_by_six_minutes() -> None:
    book = a_book(quick=30, slow=300)
    assert list(validate_timeouts(a_policy(reservation=timedelta(seconds=660)), book)) == []
    (found,) = validate_timeouts(a_policy(reservation=timedelta(seconds=659)), book)
    assert str(found).startswith("ReservationSeconds='659'")
    assert "class “slow” may take 300 s to boot" in str(found)
    assert "Set it to at least 660" in str(found)


def test_a_vm_lives_longer_than_its_boot_may_take() -> None:
    (found,) = validate_timeouts(a_policy(max_lifetime=timedelta(seconds=300)), a_book(slow=300))
    assert found.setting == "MaxLifetimeSeconds"


def test_a_standby_vm_outlasts_its_boot_by_two_minutes_though_a_fifth_is_taken_off() -> None:
    (found,) = validate_standby(with_standby(boot=600, minutes=14))
    assert str(found).startswith("standby.max_age_minutes='14'")
    assert "class “slow” may take 600 s to boot" in str(found)
    assert "Set it to at least 15" in str(found)
    assert list(validate_standby(with_standby(boot=600, minutes=15))) == []


def test_the_slowest_boot_that_a_class_may_state_fits_the_longest_reservation() -> None:
    (bound,) = (m.le for m in ClassEntry.model_fields["boot_timeout_seconds"].metadata if hasattr(m, "le"))
    assert timedelta(seconds=bound) + RESERVATION_MARGIN == timedelta(hours=1)


def test_a_deployment_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    server = AwsServer()
    try:
        for name, value in {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }.items():
            monkeypatch.setenv(name, value)
        deployment = Deployment(function="tracker", environment=an_environment(RESERVATION_SECONDS="600"))
        document = (
            '{"classes": {"default": {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0",'
            ' "root_device": "/dev/xvda"}}, "default_class": "default"}'
        )
        ssm = deployment.ssm
        ssm.put_parameter(Name="/buildkite/agent-token", Value="token", Type="SecureString")
        ssm.put_parameter(Name="/agent-stack/stack/default-classes", Value=document, Type="String")
        with pytest.raises(ConfigurationError, match="ReservationSeconds='600'"):
            deployment.check()
    finally:
        server.close()
