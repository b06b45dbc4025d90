"""A template with its parameters filled in: conditions decided, intrinsic functions computed, ids made up.

As much of CloudFormation's language as our own templates use; a function that is not known here is an error.
"""

import base64
import ipaddress
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from tests.simulator.deployment.values import checked

ACCOUNT = "123456789012"
_NOTHING = object()
_OUTPUTS = {
    "Outputs.Subnets": "subnet-0aaaaaaaaaaaaaaaa,subnet-0bbbbbbbbbbbbbbbb",
    "Outputs.VpcId": "vpc-0aaaaaaaaaaaaaaaa",
}
"""Of the nested network."""
_VARIABLE = re.compile(r"\$\{(!?)([A-Za-z0-9:./_-]+)\}")


class Resolved:
    """One deployment of a template, as CloudFormation would make it."""

    def __init__(
        self,
        template: Mapping[str, Any],
        parameters: Mapping[str, str],
        *,
        region: str = "eu-central-1",
        partition: str = "aws",
        stack: str = "ci",
        zones: str = "abc",
    ) -> None:
        """Resolve.

        Args:
            zones: the letters of those that Fn::GetAZs lists.

        Raises:
            ValueError: a parameter has no value, or one that the template does not allow.
        """
        self._template = template
        self._zones = zones
        self._pseudo: dict[str, Any] = {
            "AWS::AccountId": ACCOUNT,
            "AWS::NoValue": _NOTHING,
            "AWS::Partition": partition,
            "AWS::Region": region,
            "AWS::StackName": stack,
            "AWS::StackId": f"arn:{partition}:cloudformation:{region}:{ACCOUNT}:stack/{stack}/1",
            "AWS::URLSuffix": "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com",
        }
        self._place = f"{region}:{ACCOUNT}"
        self._parameters = {
            name: checked(name, declared, parameters.get(name, declared.get("Default")))
            for name, declared in template["Parameters"].items()
        }
        self.resources: Mapping[str, Any] = {
            name: self._value({key: value for key, value in resource.items() if key != "Condition"})
            for name, resource in template["Resources"].items()
            if "Condition" not in resource or self._condition(resource["Condition"])
        }
        self.outputs: Mapping[str, Any] = {
            name: self._value(output["Value"])
            for name, output in template.get("Outputs", {}).items()
            if "Condition" not in output or self._condition(output["Condition"])
        }

    def refused_by(self) -> Sequence[str]:
        """What the template's rules say against these parameters."""
        return [
            " ".join(assertion["AssertDescription"].split())
            for rule in self._template.get("Rules", {}).values()
            if "RuleCondition" not in rule or self._value(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self._value(assertion["Assert"])
        ]

    def policies(self, role: str) -> Sequence[Mapping[str, Any]]:
        """The documents of that role's own policies, in it and attached to it."""
        inside = [policy["PolicyDocument"] for policy in self.resources[role]["Properties"].get("Policies", ())]
        attached = [
            resource["Properties"]["PolicyDocument"]
            for resource in self.resources.values()
            if resource["Type"] in {"AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"}
            and self._ref(role) in resource["Properties"].get("Roles", ())
        ]
        return [*inside, *attached]

    def arn(self, resource: str) -> str:
        """The ARN of a resource of the template."""
        return str(self._attribute(resource, "Arn"))

    def decided(self, value: Any) -> Any:  # noqa: ANN401  (JSON)
        """A part of the template with every Fn::If decided and every address range computed, and all else as it is.

        moto leaves AWS::NoValue in lists, and does not know Fn::Cidr.
        """
        if isinstance(value, list):
            return [item for item in map(self.decided, value) if item != {"Ref": "AWS::NoValue"}]
        if not isinstance(value, dict):
            return value
        if set(value) == {"Fn::If"}:
            condition, yes, no = value["Fn::If"]
            return self.decided(yes if self._condition(condition) else no)
        if set(value) == {"Fn::Select"} and "Fn::Cidr" in as_text(value):
            return self._value(value)
        return {key: self.decided(item) for key, item in value.items()}

    def inside(self, template: Mapping[str, Any], nested: Mapping[str, Any]) -> "Resolved":
        """A stack in this one, of that template and with that resource's parameters."""
        return Resolved(
            template,
            nested["Properties"]["Parameters"],
            region=self._pseudo["AWS::Region"],
            partition=self._pseudo["AWS::Partition"],
            stack=self._pseudo["AWS::StackName"],
        )

    def _condition(self, name: str) -> bool:
        return bool(self._value(self._template["Conditions"][name]))

    def _value(self, value: Any) -> Any:  # noqa: ANN401  (JSON)
        if isinstance(value, list):
            return [item for item in map(self._value, value) if item is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._ref(argument)
            if name == "Condition" and isinstance(argument, str):
                return self._condition(argument)
            if name.startswith("Fn::"):
                return getattr(self, f"_{name.removeprefix('Fn::').lower()}")(argument)
        resolved = {key: self._value(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not _NOTHING}

    def _ref(self, name: str) -> Any:  # noqa: ANN401  (text, a list, or nothing at all)
        if name in self._pseudo or name in self._parameters:
            return self._pseudo.get(name, self._parameters.get(name))
        kind = self._template["Resources"][name]["Type"]
        if kind == "AWS::SSM::Parameter":
            return self._value(self._template["Resources"][name]["Properties"]["Name"])
        if kind == "AWS::Logs::LogGroup":
            return self._value(self._template["Resources"][name]["Properties"]["LogGroupName"])
        if kind == "AWS::EC2::LaunchTemplate":
            return f"lt-{int.from_bytes(name.encode()[:8], 'big'):017x}"
        if kind == "AWS::SQS::Queue":
            return f"https://sqs.{self._pseudo['AWS::Region']}.amazonaws.com/{ACCOUNT}/{name}Id"
        return f"{name}Id"

    def _attribute(self, name: str, attribute: str) -> Any:  # noqa: ANN401  (text or a number)
        kind = self._template["Resources"][name]["Type"]
        if attribute == "LatestVersionNumber":  # EC2 counts on with each other content; which number is not said
            data = self._value(self._template["Resources"][name]["Properties"]["LaunchTemplateData"])
            return str(1 + zlib.crc32(as_text(data).encode()) % 1_000_000)
        if attribute == "GroupId":
            return "sg-0123456789abcdef0"
        if attribute in _OUTPUTS:
            return _OUTPUTS[attribute]
        if attribute != "Arn":
            return f"{name}.{attribute}"
        service, kind_and_id = {
            "AWS::DynamoDB::Table": ("dynamodb", f"table/{name}Id"),
            "AWS::IAM::InstanceProfile": ("iam", f"instance-profile/{name}Id"),
            "AWS::IAM::Role": ("iam", f"role/{name}Id"),
            "AWS::Lambda::Function": ("lambda", f"function:{name}Id"),
            "AWS::Logs::LogGroup": ("logs", f"log-group:{self._ref(name)}:*"),
        }.get(kind, (kind.split("::")[1].lower(), f"{name}Id"))
        place = f":{ACCOUNT}" if service == "iam" else self._place
        return f"arn:{self._pseudo['AWS::Partition']}:{service}:{place}:{kind_and_id}"

    def _getatt(self, argument: Any) -> Any:  # noqa: ANN401
        name, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
        return self._attribute(name, attribute)

    def _sub(self, argument: Any) -> str:  # noqa: ANN401
        text, own = argument if isinstance(argument, list) else (argument, {})
        values = {name: self._value(value) for name, value in own.items()}

        def fill(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return f"${{{name}}}"
            if name in values:
                return str(values[name])
            return str(self._getatt(name) if "." in name else self._ref(name))

        return _VARIABLE.sub(fill, text)

    def _join(self, argument: Any) -> str:  # noqa: ANN401
        if not isinstance(argument[0], str):
            raise TypeError(f"CloudFormation takes a literal delimiter only, and no {argument[0]}")
        return argument[0].join(str(item) for item in self._value(argument[1]))

    def _split(self, argument: Any) -> list[str]:  # noqa: ANN401
        return str(self._value(argument[1])).split(argument[0])

    def _select(self, argument: Any) -> Any:  # noqa: ANN401
        return self._value(argument[1])[int(argument[0])]

    def _if(self, argument: Any) -> Any:  # noqa: ANN401
        return self._value(argument[1 if self._condition(argument[0]) else 2])

    def _equals(self, argument: Any) -> bool:  # noqa: ANN401
        first, second = map(self._value, argument)
        return bool(first == second)

    def _not(self, argument: Any) -> bool:  # noqa: ANN401
        return not self._value(argument[0])

    def _and(self, argument: Any) -> bool:  # noqa: ANN401
        return all(map(self._value, argument))

    def _or(self, argument: Any) -> bool:  # noqa: ANN401
        return any(map(self._value, argument))

    def _contains(self, argument: Any) -> bool:  # noqa: ANN401
        return self._value(argument[1]) in self._value(argument[0])

    def _eachmemberequals(self, argument: Any) -> bool:  # noqa: ANN401
        return all(item == self._value(argument[1]) for item in self._value(argument[0]))

    def _base64(self, argument: Any) -> str:  # noqa: ANN401
        return base64.b64encode(self._value(argument).encode()).decode()

    def _getazs(self, _: Any) -> list[str]:  # noqa: ANN401
        return [f"{self._pseudo['AWS::Region']}{letter}" for letter in self._zones]

    def _cidr(self, argument: Any) -> list[str]:  # noqa: ANN401
        block, count, bits = map(self._value, argument)
        subnets = ipaddress.ip_network(block).subnets(new_prefix=32 - int(bits))
        return [str(subnet) for subnet, _ in zip(subnets, range(int(count)), strict=False)]


def as_text(value: Any) -> str:  # noqa: ANN401  (JSON)
    """A form that two equal values share."""
    return json.dumps(value, sort_keys=True)
