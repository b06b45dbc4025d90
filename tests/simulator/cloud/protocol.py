"""The EC2 query protocol, generically by botocore's own description of the service."""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET

import botocore.session
from botocore.model import ListShape, ServiceModel, Shape, StructureShape

from tests.simulator.cloud.errors import Ec2Error

_REQUEST_ID = "00000000-0000-4000-8000-000000000000"


@cache
def _service() -> ServiceModel:
    return botocore.session.get_session().get_service_model("ec2")


def parse_request(body: str) -> tuple[str, dict[str, Any]]:
    """The action and its parameters, as botocore's caller wrote them.

    Raises:
        Ec2Error: EC2 has no such action.
    """
    form = dict(parse_qsl(body, keep_blank_values=True))
    action = form.get("Action", "")
    if action not in _service().operation_names:
        raise Ec2Error("InvalidAction", f"The action {action} is not valid for this web service")
    shape = _service().operation_model(action).input_shape
    parameters = _parse(form, shape, "") if shape is not None else {}
    return action, parameters or {}


def serialise_answer(action: str, answer: Mapping[str, Any]) -> bytes:
    """The answer as EC2's XML."""
    shape = _service().operation_model(action).output_shape
    root = ET.Element(f"{action}Response", xmlns="http://ec2.amazonaws.com/doc/2016-11-15/")
    ET.SubElement(root, "requestId").text = _REQUEST_ID
    if shape is not None:
        _fill(root, shape, answer)
    return _written(root)


def serialise_error(error: Ec2Error) -> bytes:
    """The error as EC2's XML."""
    root = ET.Element("Response")
    described = ET.SubElement(ET.SubElement(root, "Errors"), "Error")
    ET.SubElement(described, "Code").text = error.code
    ET.SubElement(described, "Message").text = error.message
    ET.SubElement(root, "RequestID").text = _REQUEST_ID
    return _written(root)


def _parse(form: Mapping[str, str], shape: Shape, prefix: str) -> Any:  # noqa: ANN401  (what the shape says)
    if isinstance(shape, StructureShape):
        members = {
            name: _parse(form, member, ".".join(filter(None, (prefix, _query_name(name, member)))))
            for name, member in shape.members.items()
        }
        return {name: value for name, value in members.items() if value is not None} or None
    if isinstance(shape, ListShape):
        items: list[Any] = []
        while (value := _parse(form, shape.member, f"{prefix}.{len(items) + 1}")) is not None:
            items.append(value)
        return items or None
    text = form.get(prefix)
    return None if text is None else _SCALARS.get(shape.type_name, str)(text)


_SCALARS: Mapping[str, Callable[[str], object]] = {
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": "true".__eq__,
    "blob": base64.b64decode,
}


def _query_name(name: str, member: Shape) -> str:
    described: Mapping[str, Any] = member.serialization
    if "queryName" in described:
        return str(described["queryName"])
    located = str(described.get("name", name))
    return located[0].upper() + located[1:]


def _fill(parent: ET.Element, shape: Shape, value: Any) -> None:  # noqa: ANN401  (what the shape says)
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            if value.get(name) is not None:
                described: Mapping[str, Any] = member.serialization
                _fill(ET.SubElement(parent, str(described.get("name", name))), member, value[name])
    elif isinstance(shape, ListShape):
        described = shape.member.serialization
        for item in value:
            _fill(ET.SubElement(parent, str(described.get("name", "item"))), shape.member, item)
    elif isinstance(value, datetime):
        parent.text = value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    elif isinstance(value, bytes):
        parent.text = base64.b64encode(value).decode()
    else:
        parent.text = value if isinstance(value, str) else json.dumps(value)


def _written(root: ET.Element) -> bytes:
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written
