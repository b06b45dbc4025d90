"""Image Builder, as far as the operator's command asks it: the builds of one pipeline, a few a page.

Source: the API's model in botocore, ListImagePipelineImages.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug import Response

PAGE = 2
"""So small that a reader who forgets the next page is found out."""


@dataclass
class ImageBuilder:
    """What it knows.

    Attributes:
        builds: image summaries by the ARN of their pipeline, the oldest first.
    """

    builds: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def answer(self, action: str, stated: Mapping[str, Any]) -> Response:
        """One request."""
        if action != "ListImagePipelineImages":
            return _said(400, {"message": f"{action} is not simulated"}, "InvalidRequestException")
        known = self.builds.get(stated["imagePipelineArn"])
        if known is None:
            return _said(404, {"message": "The resource does not exist"}, "ResourceNotFoundException")
        first = int(stated.get("nextToken", 0))
        last = first + min(PAGE, stated.get("maxResults", PAGE))
        more = {"nextToken": str(last)} if last < len(known) else {}
        return _said(200, {"imageSummaryList": known[first:last], **more})


def build(
    name: str, version: str, day: int, *, status: str = "AVAILABLE", reason: str = "", image: str = ""
) -> dict[str, Any]:
    """One build as it is summarised: its name as it was given, its ARN in lower case."""
    arn = f"arn:aws:imagebuilder:eu-central-1:123456789012:image/{name.lower()}/{version}"
    return {
        "arn": arn,
        "name": name,
        "type": "AMI",
        "version": version,
        "platform": "Linux",
        "state": {"status": status, **({"reason": reason} if reason else {})},
        "dateCreated": f"2026-11-{day:02}T03:00:00.000Z",
        "outputResources": {"amis": [{"region": "eu-central-1", "image": image}] if image else []},
    }


def _said(status: int, answer: Mapping[str, Any], code: str = "") -> Response:
    headers = {"x-amzn-errortype": code} if code else {}
    return Response(json.dumps(answer), status=status, content_type="application/json", headers=headers)
