"""The member `standby` of a class: what is read of it, and what an operator is told of a wrong one."""

import json
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.adapters.ssm.class_document import ClassDocument, read_classes
from agent_stack.adapters.ssm.standby_entry import StandbyEntry
from agent_stack.domain.classes import ClassBook, Unmatched, VmClass
from agent_stack.domain.identifiers import ClassName, QueueKey
from tests.simulator.catalog import NoShapes

OFFICE = {"days": "mon-fri", "from": "08:00", "to": "19:00", "timezone": "Europe/Berlin", "hot": 10}
SMALL, OTHER = ClassName("small"), ClassName("other")


def read(standby: object, image: str = "ami-0123456789abcdef0", **changes: object) -> ClassBook:
    shape = {"instance_types": ["m7i.large"], "image": image}
    document = {
        "classes": {"small": {**shape, "standby": standby, **changes}, "other": shape},
        "default_class": "other",
    }
    return read_classes(json.dumps(document), name="/classes", deployment_tags=(), shapes=NoShapes())


def test_it_is_read_as_the_design_shows_it() -> None:
    found = read({"hot": 2, "max_age_minutes": 240, "schedule": [OFFICE]}).classes[SMALL].standby
    assert found is not None
    assert (found.hot, found.max_age, found.schedule[0].hot) == (2, timedelta(hours=4), 10)
    assert found.schedule[0].days == frozenset(range(5))
    assert read({"hot": 1}).classes[OTHER].standby is None


@pytest.mark.parametrize(
    ("days", "numbers"),
    [
        ("mon", {0}),
        ("sat,sun", {5, 6}),
        ("sat-mon", {5, 6, 0}),
        ("mon-sun", set(range(7))),
        ("mon-wed,fri", {0, 1, 2, 4}),
    ],
)
def test_days_are_named_alone_in_lists_and_in_spans_also_over_the_weekend(days: str, numbers: set[int]) -> None:
    (window,) = StandbyEntry.model_validate({"hot": 0, "schedule": [{**OFFICE, "days": days}]}).to_standby().schedule
    assert window.days == numbers


@pytest.mark.parametrize(
    ("standby", "words"),
    [
        ({}, "classes.small.standby.hot: Field required"),
        ({"hot": -1}, "classes.small.standby.hot: Input should be greater than or equal to 0"),
        ({"hot": 1, "max_age_minutes": 5}, "classes.small.standby.max_age_minutes: Input should be greater"),
        ({"hot": 1, "stopped": 2}, "classes.small.standby.stopped: Extra inputs are not permitted"),
        ({"hot": 1, "schedule": [{**OFFICE, "days": "mo-fr"}]}, "classes.small.standby.schedule.0.days"),
        ({"hot": 1, "schedule": [{**OFFICE, "from": "8:00"}]}, "classes.small.standby.schedule.0.from"),
        ({"hot": 1, "schedule": [{**OFFICE, "from": "24:00"}]}, "classes.small.standby.schedule.0.from"),
        ({"hot": 1, "schedule": [{**OFFICE, "to": "25:00"}]}, "classes.small.standby.schedule.0.to"),
        ({"hot": 1, "schedule": [{**OFFICE, "to": "08:00"}]}, "from and to are both 08:00; write 00:00 to 24:00"),
        (
            {"hot": 1, "schedule": [{**OFFICE, "timezone": "Europe/Atlantis"}]},
            "there is no time zone 'Europe/Atlantis'",
        ),
        ({"hot": 1, "schedule": [{**OFFICE, "timezone": "../../etc/passwd"}]}, "schedule.0.timezone"),
        ("two", "classes.small.standby"),
        ({"hot": True}, "classes.small.standby.hot: a whole number is wanted, not true"),
        ({"hot": 1, "max_age_minutes": True}, "classes.small.standby.max_age_minutes: a whole number is wanted"),
        (
            {"hot": 1, "schedule": [OFFICE, {**OFFICE, "hot": False}]},
            "schedule.1.hot: a whole number is wanted, not false",
        ),
        ({"hot": 5000}, "less than or equal to 1000; it is 5000"),
        ({"hot": 1, "schedule": [{**OFFICE, "from": "8:00"}]}, '; it is "8:00"'),
        ({"hot": 1, "schedule": [{**OFFICE, "days": "Mon"}]}, '; it is "Mon"'),
        ({"hot": 1, "schedule": [{**OFFICE, "to": "08:00"}]}, "schedule.0: from and to"),
    ],
)
def test_what_is_wrong_is_named_and_the_other_class_goes_on(standby: object, words: str) -> None:
    book = read(standby)
    assert words in str(book.broken[SMALL])
    assert OTHER in book.classes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_instances": True}, "classes.small.max_instances: a whole number is wanted, not true"),
        ({"volume_gib": False}, "classes.small.volume_gib: a whole number is wanted, not false"),
        (
            {"boot_timeout_seconds": 5},
            "classes.small.boot_timeout_seconds: Input should be greater than or equal to 30; it is 5",
        ),
        ({"image": "x" * 10_000}, '; it is "xxxx'),
        (
            {
                "instance_types": None,
                "instance_requirements": {"architecture": "arm64", "vcpus_min": True, "memory_gib_min": 8},
            },
            "classes.small.instance_requirements.vcpus_min: a whole number is wanted, not true",
        ),
    ],
)
def test_the_same_holds_for_the_other_members_and_the_value_is_named(changes: dict[str, Any], words: str) -> None:
    said = str(read({"hot": 1}, **changes).broken[SMALL])
    assert words in said
    assert len(said) < 800


@pytest.mark.parametrize("zone", ["localtime", "posixrules", "right/Europe/Berlin", "posix/UTC", "Europe", "CEST"])
def test_a_zone_that_only_some_machines_know_is_none(zone: str) -> None:
    """The functions have the tz database that they ship with, and a laptop that checks a document has more."""
    assert f"there is no time zone '{zone}'" in str(read({"hot": 1, "schedule": [{**OFFICE, "timezone": zone}]}).broken)


@pytest.mark.parametrize("zone", ["UTC", "Etc/GMT+2", "America/Argentina/Ushuaia", "EST5EDT", "Asia/Kathmandu"])
def test_all_names_of_the_tz_database_are_zones(zone: str) -> None:
    assert SMALL in read({"hot": 1, "schedule": [{**OFFICE, "timezone": zone}]}).classes


def test_a_vm_stands_by_for_the_class_as_it_is_written_and_not_for_a_jobs_variant_of_it() -> None:
    book = read({"hot": 1}, allow_markets=["spot"])
    plain, variant = (book.match(("class=small", *rules), QueueKey("default")) for rules in ((), ("market=spot",)))
    assert isinstance(plain, VmClass)
    assert isinstance(variant, VmClass)
    assert plain.standby is not None
    assert variant.standby is None
    assert not isinstance(plain, Unmatched)


def test_the_image_that_a_parameter_names_now_is_known_of_a_class_that_needs_it_only() -> None:
    book = read({"hot": 1}, image="resolve:ssm:/aws/service/x")
    assert book.classes[SMALL].image_id == "ami-of-resolve:ssm:/aws/service/x"
    assert book.classes[OTHER].image_id == ""


def test_the_schema_for_editors_says_from_and_to_and_a_document_survives_being_written() -> None:
    schema: dict[str, Any] = ClassDocument.model_json_schema()
    assert {"from", "to"} <= schema["$defs"]["WindowEntry"]["properties"].keys()
    entry = StandbyEntry.model_validate({"hot": 1, "schedule": [OFFICE]})
    assert entry.model_dump(mode="json")["schedule"] == [OFFICE]
