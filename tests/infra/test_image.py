"""What Image Builder would refuse on an upgrade: another component or recipe under a name and version that exist."""

import base64
import gzip
import hashlib
import json
import re

from cfnlint.decode.cfn_yaml import loads

from infra.baked_program import DIRECTORY, IMAGE, MAX_DATA_CHARACTERS, generated
from infra.user_data import ROOT, program_sha256, second_stage

DIGESTS = {"1": "f63493f66540db89", "2": "458d82d7ec029b4b", "3": "97d324f14b90c8fa"}
"""By revision, which ends the names of component and recipe: of what both are made of."""


def test_another_text_of_the_image_has_another_name() -> None:
    resources = loads((ROOT / "infra" / "image.yaml").read_text())["Resources"]
    component, recipe = (dict(resources[name]["Properties"]) for name in ("Component", "Recipe"))
    revisions = {str(properties.pop("Name")["Fn::Sub"]).rpartition("-")[2] for properties in (component, recipe)}
    (revision,) = revisions
    made_of = json.dumps([component, recipe], sort_keys=True, default=str)
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    assert DIGESTS.get(revision) == digest, "give both names the next revision, and note its digest here"


def test_the_image_holds_the_program_of_its_stack_under_its_hash() -> None:
    text = IMAGE.read_text()
    assert generated(text) == text
    properties = loads(text)["Resources"]["Program"]["Properties"]
    assert len(properties["Data"]) <= MAX_DATA_CHARACTERS
    (command,) = re.findall(r"echo (\S+) \| base64 -d >(\S+)", properties["Data"])
    assert gzip.decompress(base64.b64decode(command[0])).decode() == second_stage()
    assert command[1] == f"{DIRECTORY}/{program_sha256()}.gz"
    for name in ("Program", "Recipe"):
        named = loads(text)["Resources"][name]["Properties"]["Name"]["Fn::Sub"]
        assert program_sha256()[:12] in named, "another program is another component and another recipe"
