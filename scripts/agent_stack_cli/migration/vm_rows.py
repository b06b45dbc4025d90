"""Rows of the group Instance, as far as they are about the machine, its image and its disk."""

import re
from typing import Any

from agent_stack_cli.migration.rows import (
    Outcome,
    Row,
    Rule,
    Values,
    absent,
    carried,
    changed,
    covered,
    impossible,
    listed,
    needless,
    recipe,
    refused,
    unneeded,
    where,
)

AMAZON_LINUX = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{machine}"
UBUNTU = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{machine}/hvm/ebs-gp3/ami-id"
READABLE = ("/aws/service/", "/agent-stack/images/")
"""Where the dispatcher may read image parameters without ImageParameters."""
SSH = (
    "There is no SSH.",
    "Set SessionManager=true: agent-stack connect JOB opens a shell on a job's VM, if your role may.",
)
OWN_IMAGE = (
    "Try the image with one job first. An image that was built on the Elastic stack's brings its agent hooks, which "
    "fail without that stack: remove /etc/buildkite-agent/hooks/* in the script of BootstrapUrl, or build the image on "
    "stock Amazon Linux or Ubuntu. Its agent must be 4.0.3 or later, or 3.133 or later of version 3."
)
_GRAVITON = re.compile(r"^(a1|[a-z]+[0-9]+g[a-z]*)\.")


def is_arm(instance_type: str) -> bool:
    """Whether a type has AWS's own processors: the letter after the generation is g."""
    return _GRAVITON.match(instance_type) is not None


def types_of(values: Values) -> tuple[list[str], list[str]]:
    """The types of the first one's architecture, and the others: an image is for one architecture."""
    every = list(dict.fromkeys(values.items("InstanceTypes"))) or ["t3.large"]
    fit = [one for one in every if is_arm(one) == is_arm(every[0])]
    return fit, [one for one in every if one not in fit]


def stock_image(values: Values) -> str:
    """Where AWS or Canonical publish the newest image of that distribution."""
    arm = is_arm(types_of(values)[0][0])
    if values["LinuxDistribution"] == "ubuntu2404":
        return "resolve:ssm:" + UBUNTU.format(machine="arm64" if arm else "amd64")
    return "resolve:ssm:" + AMAZON_LINUX.format(machine="arm64" if arm else "x86_64")


def _types(values: Values) -> Outcome:
    fit, others = types_of(values)
    words = "On-demand, EC2 tries the first type first. Spot takes a cheap pool that is unlikely to be taken back."
    do = f"Make a class with an image of the other architecture: {listed(others)}." if others else ""
    shared = values.number("AgentsPerInstance")
    if shared > 1:
        do = (do + f" Choose types of about 1/{shared:g} of the size, because {shared:g} jobs shared a VM.").strip()
    return changed(words, do, fields={"instance_types": fit}) if do else carried(words, fields={"instance_types": fit})


def _image(values: Values) -> Outcome:
    image = values["ImageId"]
    if not image:
        return unneeded("No image of your own.")
    return changed("Jobs run on your own image.", OWN_IMAGE, fields={"image": image})


def _image_parameter(values: Values) -> Outcome:
    name = values["ImageIdParameter"]
    if values["ImageId"]:
        return unneeded("ImageId takes its place, as on that stack.")
    if name.startswith(READABLE):
        return changed("Jobs run on your own image.", OWN_IMAGE, fields={"image": f"resolve:ssm:{name}"})
    named = name if name.startswith("/") else f"/{name}"
    return changed(
        "Jobs run on your own image. ImageParameters lets the dispatcher read that parameter.", OWN_IMAGE,
        fields={"image": f"resolve:ssm:{named}"}, parameters={"ImageParameters": named},
    )  # fmt: skip


def _distribution(values: Values) -> Outcome:
    if values["ImageId"] or values["ImageIdParameter"]:
        return unneeded("You have an image of your own.")
    return changed(
        "The stock image of that distribution. The boot program installs git, docker and the agent.",
        "Look for tools that your steps take from the Elastic image. BakeImage bakes an image with docker, compose, "
        "buildx, git-lfs, jq and the AWS CLI; the script of BootstrapUrl installs others.",
        fields={"image": stock_image(values)},
        parameters={"Packages": "git,docker"},
    )


def disk(values: Values) -> dict[str, Any]:
    """The class fields of the root volume, all of them: they are right or wrong together."""
    kind = values["RootVolumeType"]
    fields: dict[str, Any] = {"volume_gib": int(values.number("RootVolumeSize"))}
    if kind != "gp3":
        fields["volume_type"] = kind
    if kind in {"io1", "io2"} or (kind == "gp3" and values.differs("RootVolumeIops")):
        fields["volume_iops"] = int(values.number("RootVolumeIops"))
    if kind == "gp3" and values.differs("RootVolumeThroughput"):
        fields["volume_throughput_mibs"] = int(values.number("RootVolumeThroughput"))
    return fields


def _speed(field: str) -> Rule:
    """Of a disk, where its type has such a thing."""
    return lambda values: (
        carried(fields=disk(values), own=(field,))
        if field in disk(values)
        else unneeded(f"Volumes of type {values['RootVolumeType']} have none to set.")
    )


def _volume(values: Values) -> Outcome:
    return carried(
        "One job needs less than a VM that kept jobs for hours did. Lower volume_gib, because you pay for it.",
        fields=disk(values),
        own=("volume_gib",),
    )


def _limits(values: Values) -> Outcome:
    if not values.on("ExperimentalEnableResourceLimits"):
        return unneeded("Limits are off.")
    return refused(
        "One job has the VM, and nothing limits it.",
        "Let the script of BootstrapUrl do what docs/examples/bootstrap/resource-limits.sh does, with your numbers.",
    )


def _agents(_: Values) -> Outcome:
    return changed("One job on each VM. MaxInstances is MaxSize times this, so that as many jobs run at once.")


ROWS: tuple[Row, ...] = (
    covered("ImageId", "", "The class field `image`", _image),
    covered(
        "ImageIdParameter", "",
        "The class field `image` as resolve:ssm:NAME; `ImageParameters` where it is elsewhere than below "
        "/aws/service/ and /agent-stack/images/", _image_parameter,
    ),
    absent(
        "InstanceOperatingSystem", "linux",
        "Linux only, because the boot program is made of bash and systemd. Windows jobs stay on the Elastic stack",
        where(
            "InstanceOperatingSystem", {"linux": needless("Linux, as here.")},
            impossible("VMs run Linux only.", "Leave the Windows queue on the Elastic stack. Nothing here starts it."),
        ),
    ),
    covered(
        "LinuxDistribution", "amazonlinux2023", "The class field `image`; any with bash, systemd and curl",
        _distribution, always=True,
    ),
    covered(
        "InstanceTypes", "t3.large", "The class field `instance_types`, or `instance_requirements`; several classes",
        _types, always=True,
    ),
    recipe(
        "CpuCredits", "unlimited", "The account's default (aws ec2 modify-default-credit-specification), because "
        "CreateFleet's overrides carry no credits and EC2 refuses them in a launch template for other types",
        impossible(
            "Burstable types run with the account's default, which is unlimited for t3 and t4g.",
            "aws ec2 modify-default-credit-specification --instance-family t3 --cpu-credits standard, for each family; "
            "or use m and c types.",
        ),
    ),
    absent(
        "NestedVirtualizationEnabled", "false", "Use bare-metal types, which have /dev/kvm: launches ask for no CPU "
        "options, because CreateFleet's overrides carry none and few types take them from a launch template",
        impossible("Launches ask for no CPU options.", "Use bare-metal types, such as c7i.metal-24xl, for /dev/kvm."),
    ),
    recipe(
        "EnableInstanceStorage", "false",
        "`BootstrapUrl` with docs/examples/bootstrap/instance-store.sh: striped, for builds and docker",
        impossible(
            "Instance store is neither formatted nor mounted.",
            "Let the script of BootstrapUrl do what docs/examples/bootstrap/instance-store.sh does.",
        ),
    ),
    recipe(
        "MountTmpfsAtTmp", "true", "The image's own setting; `BootstrapUrl`: systemctl mask --now tmp.mount",
        impossible("The image decides.", "Add to the script of BootstrapUrl: systemctl mask --now tmp.mount"),
    ),
    absent(
        "AgentsPerInstance", "1",
        "One job on each VM, because no job is to meet what another one left; the count becomes `MaxInstances`",
        _agents,
    ),
    recipe("KeyName", "", "No SSH: `SessionManager`, and agent-stack connect JOB", impossible(*SSH)),
    recipe("AuthorizedUsersUrl", "", "No SSH: `SessionManager`, and agent-stack connect JOB", impossible(*SSH)),
    covered("RootVolumeSize", "250", "The class field `volume_gib`", _volume, always=True),
    absent("RootVolumeName", "", "The image's root device is looked up; the class field `root_device` may state it"),
    covered(
        "RootVolumeType", "gp3", "The class field `volume_type`: gp3, gp2, io1 or io2",
        where("RootVolumeType", {"gp3": needless("gp3, as here.")}, _speed("volume_type")),
    ),
    covered(
        "RootVolumeThroughput", "125", "The class field `volume_throughput_mibs`", _speed("volume_throughput_mibs")
    ),
    covered("RootVolumeIops", "3000", "The class field `volume_iops`", _speed("volume_iops")),
    covered(
        "RootVolumeEncrypted", "false", "Always encrypted; `KmsKeyArn` for a key of your own",
        needless("Always encrypted."),
    ),
    absent("RootVolumeDeleteOnTermination", "true", "Volumes always end with their VM"),
    covered(
        "EnableDetailedMonitoring", "false", "`DetailedMonitoring`",
        where(
            "EnableDetailedMonitoring", {"true": lambda _: carried(parameters={"DetailedMonitoring": "true"})},
            needless("Off, as here."),
        ),
    ),
    absent(
        "InstanceName", "",
        "The Name of a VM is STACK-CLASS, because people look for a stack's VMs of a class; name both accordingly",
        lambda values: refused(
            "The Name of a VM is STACK-CLASS.",
            f"Filter by the tag agent-stack:deployment, not by Name {values['InstanceName']}.",
        ),
    ),
    *(
        recipe(
            name, default,
            "`BootstrapUrl` with docs/examples/bootstrap/resource-limits.sh. Rarely needed, because one job has the VM "
            "and the agent is protected where memory runs out", _limits,
        )
        for name, default in (
            ("ExperimentalEnableResourceLimits", "false"), ("ResourceLimitsMemoryHigh", "90%"),
            ("ResourceLimitsMemoryMax", "90%"), ("ResourceLimitsMemorySwapMax", "90%"),
            ("ResourceLimitsCPUWeight", "100"), ("ResourceLimitsCPUQuota", "90%"), ("ResourceLimitsIOWeight", "80"),
        )
    ),
    absent("BuildkiteWindowsAdministrator", "true", "Windows only; VMs here run Linux"),
)  # fmt: skip
