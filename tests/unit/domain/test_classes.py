"""How a job picks a class."""

from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_stack.adapters.ssm.class_document import read_classes
from agent_stack.domain.classes import BrokenClass, ClassBook, Unmatched, VmClass, base_name
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.identifiers import ClassName, QueueKey
from agent_stack.domain.purchase_mix import PurchaseMix
from agent_stack.domain.standby_schedule import Standby
from agent_stack.domain.states import CapacityType
from tests.simulator.catalog import NoShapes

DOCUMENT = """
{"classes": {
  "small": {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0", "agent_tags": ["docker=true"]},
  "large": {"instance_types": ["c7i.4xlarge", "c7a.4xlarge"], "market": "spot", "max_instances": 5,
            "image": "resolve:ssm:/aws/service/x", "root_device": "/dev/sda1", "volume_gib": 100,
            "agent_tags": ["team=*"]}
}, "default_class": "small"}
"""
QUEUE = QueueKey("default")
SHAPES = NoShapes({"resolve:ssm:/aws/service/x": "/dev/sda1"})


def book() -> ClassBook:
    return read_classes(DOCUMENT, name="/classes", deployment_tags=("site=home",), shapes=SHAPES)


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        ((), "small"),
        (("queue=default",), "small"),
        (("class=large",), "large"),
        (("class=large", "team=web"), "large"),
        (("docker=true", "site=home"), "small"),
        (("docker",), "small"),
        (("class=*",), "small"),
        (("class=*", "class=large", "team=*"), "large"),
        (("class=large", "class=large"), "large"),
        (("queue=*", "instance-type=*", "market=*"), "small"),
    ],
)
def test_a_job_gets_the_class_whose_tags_hold_its_rules(rules: tuple[str, ...], name: str) -> None:
    matched = book().match(rules, QUEUE)
    assert isinstance(matched, VmClass)
    assert matched.name == name


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (("class=huge",), "no class “huge”"),
        (("class=small", "class=large"), "more than one class"),
        (("instance-type=m7i.large", "instance-type=c7i.large"), "more than one instance-type: m7i.large, c7i.large"),
        (("market=spot", "market=on-demand"), "more than one market"),
        (("class=lrage",), "Would match: class=large, class=small."),
        (("class=smal", "team=web"), "Would match: class=large."),
        (("class=smal", "gpu=true"), "No class offers that. Classes: class=small, class=large."),
        (
            ("team=web",),
            "do not offer “team=web”. They offer site=home, docker=true. Would match",
        ),
        (("queue=other",), "asks for queue “other” but waits in “default”"),
        (("gpu=true",), "do not offer “gpu=true”"),
        (("class=" + "x" * 500,), "…"),
        (("class=a\nb\x1b[31m",), "a·b·[31m"),
    ],
)
def test_what_nobody_offers_is_said_with_what_would_fit(rules: tuple[str, ...], said: str) -> None:
    matched = book().match(rules, QUEUE)
    assert isinstance(matched, Unmatched)
    assert said in matched.reason
    assert "\n" not in matched.reason


def read(document: str) -> ClassBook:
    return read_classes(document, name="/classes", deployment_tags=(), shapes=SHAPES)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "not JSON"),
        ("[]", "names no class"),
        ('{"classes":' * 100_000, "nested too deeply"),
        ('{"default_class": "a"}', "names no class"),
        ('{"classes": {}, "default_class": "a"}', "names no class"),
    ],
)
def test_a_document_without_classes_is_named_with_a_remedy(document: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(document)
    assert said in str(raised.value)
    assert "ClassesParameter='/classes'" in str(raised.value)
    assert "docs/reference/classes.md" in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "broken", "said"),
    [
        ("ami-0123456789abcdef0", "ubuntu", "small", "classes.small.image"),
        ('"market": "spot"', '"market": "cheap"', "large", "classes.large.market"),
        ('"instance_types": ["m7i.large"], ', "", "small", "either instance_types or instance_requirements"),
        ('"max_instances": 5', '"max_instances": 5, "role": "admin"', "large", "classes.large.role"),
        (
            "/dev/sda1",
            "/dev/xvda",
            "large",
            "classes.large.root_device: /dev/sda1 is the root device of resolve:ssm:/aws/service/x, not /dev/xvda",
        ),
        ('"small": {"instance', '"sm/all": {"instance', "sm/all", "63 letters"),
        ('{"instance_types": ["m7i.large"], ', '3, "x": {', "small", "classes.small"),
        ('"default_class": "small"', '"default_class": "tiny"', "tiny", "'tiny' is not one of the classes"),
        (', "default_class": "small"', "", "", "default_class: '' is not one of the classes"),
        ('{"classes"', '{"clases": {}, "classes"', "clases", "there is no such field"),
        ('{"classes"', '{"small": {}, "classes"', "$.small", "small: there is no such field"),
        ('{"classes"', '{"classes": {}, "classes"', "classes", "classes: the document gives it twice"),
        ('"default_class": "small"', '"default_class": null', "", "default_class: None is not one of the classes"),
        ('"default_class": "small"', '"default_class": "\\ud800"', "?", "is not one of the classes"),
        ('"small": {"instance', '"small": {}, "small": {"instance', "small", "classes.small: it is listed twice"),
        ('"max_instances": 5', '"max_instances": 5, "max_instances": 9', "large", "classes.large.max_instances: it is"),
        ('"max_instances": 5', '"max_instances": ' + "9" * 5_000, "large", "classes.large.max_instances"),
        ('"max_instances": 5', '"volume_iops": ' + "9" * 4_000, "large", "classes.large"),
        ('"max_instances": 5', '"\\ud800": 5', "large", "classes.large.?"),
        ('"max_instances": 5', '"standby": {"hot": 1, "hot": 2}', "large", "classes.large.standby.hot: it is given"),
        (
            '"max_instances": 5',
            '"standby": {"hot": 1, "schedule": [{"to": "", "to": ""}]}',
            "large",
            "classes.large.standby.schedule.0.to: it is given twice",
        ),
    ],
)
def test_one_wrong_member_is_named_and_the_other_classes_can_be_used(
    old: str, new: str, broken: str, said: str
) -> None:
    listed = read(DOCUMENT.replace(old, new))
    error = listed.broken[ClassName(broken)]
    assert said in str(error)
    assert "ClassesParameter='/classes'" in str(error)
    assert len(str(error).encode()) < 1_000  # it goes into the ledger, into logs and, cropped, onto pages
    assert set(listed.classes) >= {"small", "large"} - {broken} - ({"small"} if broken == "sm/all" else set())
    asking = listed.match((f"class={broken}",) if broken else (), QUEUE)
    assert isinstance(asking, BrokenClass)
    assert said in asking.reason
    for name in listed.classes:
        assert isinstance(listed.match((f"class={name}",), QUEUE), VmClass)


def test_a_job_that_names_no_class_is_told_what_is_wrong_with_the_default() -> None:
    matched = read(DOCUMENT.replace("ami-0123456789abcdef0", "ubuntu")).match((), QUEUE)
    assert isinstance(matched, BrokenClass)
    assert matched.name == "small"
    assert matched.words.startswith("classes.small.image: ")


def test_the_stacks_own_document_is_taken_at_its_word() -> None:
    """So that an idle poll makes no client of EC2's."""
    document = DOCUMENT.replace('"image": "ami-0123456789abcdef0"', '"image": "ami-01234567", "root_device": "/dev/x"')
    book = read_classes(document, name="/default", deployment_tags=(), shapes=SHAPES, shipped=True)
    assert book.classes[ClassName("small")].root_device == "/dev/x"


CHOOSY = """
{"classes": {"big": {"instance_types": ["c7i.xlarge", "c7a.xlarge"], "image": "ami-0123456789abcdef0", "market": "spot",
  "allow_instance_types": ["m7?.*"], "allow_markets": ["on-demand"], "fallback_to_on_demand": true}},
 "default_class": "big"}
"""


def choosy() -> ClassBook:
    return read_classes(CHOOSY, name="/classes", deployment_tags=(), shapes=NoShapes())


@pytest.mark.parametrize(
    ("rules", "name", "types", "capacity_type"),
    [
        (("instance-type=c7a.xlarge",), "big/c7a.xlarge", ("c7a.xlarge",), "spot"),
        (("instance-type=m7g.large",), "big/m7g.large", ("m7g.large",), "spot"),
        (("market=on-demand",), "big/on-demand", ("c7i.xlarge", "c7a.xlarge"), "on-demand"),
        (("market=spot", "instance-type=m7i.2xlarge"), "big/m7i.2xlarge/spot", ("m7i.2xlarge",), "spot"),
        (("instance-type=*", "market=*"), "big", ("c7i.xlarge", "c7a.xlarge"), "spot"),
    ],
)
def test_a_job_chooses_type_and_market_where_the_class_allows_it(
    rules: tuple[str, ...], name: str, types: tuple[str, ...], capacity_type: str
) -> None:
    matched = choosy().match(rules, QUEUE)
    assert isinstance(matched, VmClass)
    assert (matched.name, matched.instance_types, matched.capacity_type) == (name, types, capacity_type)
    assert choosy().find(matched.name) == matched
    assert base_name(matched.name) == "big"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (("instance-type=p5.48xlarge",), "does not allow “instance-type=p5.48xlarge”. It allows m7?.*."),
        (("instance-type=m7i.*",), "does not allow"),
        (("instance-type=m7i.large;rm",), "does not allow"),
        (("market=cheap",), "There is no market “cheap”"),
    ],
)
def test_what_a_class_does_not_allow_is_said(rules: tuple[str, ...], said: str) -> None:
    matched = choosy().match(rules, QUEUE)
    assert isinstance(matched, Unmatched)
    assert said in matched.reason


@pytest.mark.parametrize("asked", CapacityType)
@pytest.mark.parametrize("allowed", [(), *((one,) for one in CapacityType)])
@pytest.mark.parametrize("own", CapacityType)
def test_a_job_gets_the_market_of_its_class_or_one_that_the_class_allows(
    own: CapacityType, allowed: tuple[CapacityType, ...], asked: CapacityType
) -> None:
    listed = choosy().classes[ClassName("big")]
    mix, hot = PurchaseMix(base=1), Standby(hot=1, max_age=timedelta(hours=1))
    changed = replace(
        listed, capacity_type=own, allowed_capacity_types=frozenset(allowed), mix=mix, standby=hot, fallback=True
    )
    matched = replace(choosy(), classes={changed.name: changed}).match((f"market={asked}",), QUEUE)
    assert isinstance(matched, VmClass) == (asked in {own, *allowed})
    if isinstance(matched, Unmatched):
        assert f"does not allow “market={asked}”. It allows {own}." in matched.reason
    else:  # of what the operator wants of the class nothing holds for what a job chose of it
        assert (matched.mix, matched.standby, matched.fallback) == (None, None, False)


def test_a_choice_that_is_no_longer_allowed_is_no_class_any_more() -> None:
    assert choosy().find(ClassName("big/p5.48xlarge")) is None
    assert book().find(ClassName("small/m7g.large/spot")) is None
    assert book().find(ClassName("gone/m7g.large")) is None


NAMES = st.sampled_from(["small", "large", "docker", "team", "site", "class", "queue", "instance-type", "market", "*"])
RULES = st.lists(st.builds("{}={}".format, NAMES, NAMES), max_size=4).map(tuple)


@given(rules=RULES, tags=RULES)
def test_an_unrelated_class_never_changes_a_match(rules: tuple[str, ...], tags: tuple[str, ...]) -> None:
    before = book()
    unrelated = VmClass(
        name=ClassName("unrelated"), instance_types=("x1.large",), image="ami-00000000", agent_tags=tags
    )
    after = replace(before, classes={**before.classes, unrelated.name: unrelated})
    was, now = before.match(rules, QUEUE), after.match(rules, QUEUE)
    assert isinstance(was, Unmatched) == isinstance(now, Unmatched)
    assert isinstance(was, Unmatched) or was == now


@given(rules=st.lists(st.text(max_size=20), max_size=4).map(tuple))
def test_whatever_a_job_says_it_gets_a_class_as_listed_or_none(rules: tuple[str, ...]) -> None:
    """So nothing of it can reach EC2: what a launch asks for is made of the class alone."""
    listed = book()
    matched = listed.match(rules, QUEUE)
    assert isinstance(matched, Unmatched) or matched in listed.classes.values()


@given(
    instance_type=st.text(alphabet="abcm7i.*?- /;", max_size=20),
    capacity_type=st.sampled_from(["spot", "on-demand", "x/y", "*", ""]),
)
def test_no_choice_of_a_job_reaches_ec2_that_its_class_does_not_allow(instance_type: str, capacity_type: str) -> None:
    listed = choosy().classes[ClassName("big")]
    matched = choosy().match((f"instance-type={instance_type}", f"market={capacity_type}"), QUEUE)
    if isinstance(matched, VmClass):
        allowed = (*listed.instance_types, *listed.allowed_types)
        assert all(any(fnmatchcase(one, pattern) for pattern in allowed) for one in matched.instance_types)
        kept = replace(matched, name=listed.name, instance_types=(), capacity_type=listed.capacity_type, fallback=True)
        assert kept == replace(listed, instance_types=())


def test_whatever_queue_a_job_of_the_default_queue_names_is_the_queue_it_waits_in() -> None:
    """Its alias says nothing of its key, and Buildkite lists only what waits in it."""
    for alias in ("_default", "__default__"):
        matched = book().match(("queue=linux", "class=large"), QueueKey(alias))
        assert isinstance(matched, VmClass)
