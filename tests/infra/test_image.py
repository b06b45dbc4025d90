"""What Image Builder would refuse on an upgrade: another component or recipe under a name and version that exist."""

import hashlib
import json

from cfnlint.decode.cfn_yaml import loads

from infra.user_data import ROOT

DIGESTS = {"1": "f63493f66540db89"}
"""By revision, which ends the names of component and recipe: of what both are made of."""


def test_another_text_of_the_image_has_another_name() -> None:
    resources = loads((ROOT / "infra" / "image.yaml").read_text())["Resources"]
    component, recipe = (dict(resources[name]["Properties"]) for name in ("Component", "Recipe"))
    revisions = {str(properties.pop("Name")["Fn::Sub"]).rpartition("-")[2] for properties in (component, recipe)}
    (revision,) = revisions
    made_of = json.dumps([component, recipe], sort_keys=True, default=str)
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    assert DIGESTS.get(revision) == digest, "give both names the next revision, and note its digest here"
