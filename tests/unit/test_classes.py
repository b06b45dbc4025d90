"""How a job picks a class."""

import pytest

from agent_stack.adapters.ssm.class_document import read_classes
from agent_stack.domain.classes import ClassBook, Unmatched, VmClass
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.identifiers import QueueKey

DOCUMENT = """
{"classes": {
  "small": {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0", "agent_tags": ["docker=true"]},
  "large": {"instance_types": ["c7i.4xlarge", "c7a.4xlarge"], "market": "spot", "max_instances": 5,
            "image": "resolve:ssm:/aws/service/x", "root_device": "/dev/sda1", "volume_gib": 100,
            "agent_tags": ["team=*"]}
}, "default_class": "small"}
"""
QUEUE = QueueKey("default")


def book() -> ClassBook:
    return read_classes(DOCUMENT, name="/classes", deployment_tags=("site=home",))


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        ((), "small"),
        (("queue=default",), "small"),
        (("class=large",), "large"),
        (("class=large", "team=web"), "large"),
        (("docker=true", "site=home"), "small"),
        (("docker",), "small"),
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


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "not JSON"),
        ('{"classes": {}, "default_class": "a"}', "classes"),
        (DOCUMENT.replace('"default_class": "small"', '"default_class": "tiny"'), "not one of the classes"),
        (DOCUMENT.replace("ami-0123456789abcdef0", "ubuntu"), "classes.small.image"),
        (DOCUMENT.replace('"market": "spot"', '"market": "cheap"'), "classes.large.market"),
        (DOCUMENT.replace('"root_device": "/dev/sda1", ', ""), "second disk"),
        (DOCUMENT.replace('"max_instances": 5', '"max_instances": 5, "role": "admin"'), "classes.large.role"),
    ],
)
def test_a_wrong_document_is_named_with_its_field_and_a_remedy(document: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_classes(document, name="/classes", deployment_tags=())
    assert said in str(raised.value)
    assert "ClassesParameter='/classes'" in str(raised.value)
    assert "docs/classes.md" in str(raised.value)
