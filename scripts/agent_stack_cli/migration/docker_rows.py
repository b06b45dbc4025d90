"""Rows of the groups Docker and Plugins."""

import json
from typing import Any

from agent_stack_cli.migration.rows import (
    Outcome,
    Row,
    Values,
    absent,
    carried,
    changed,
    impossible,
    needless,
    recipe,
    refused,
    unneeded,
)

OWN_FILE = "`BootstrapUrl` with docs/examples/bootstrap/docker-addresses.sh, which writes docker's own settings"
POLICIES = {
    "readonly": "",
    "poweruser": "AmazonEC2ContainerRegistryPowerUser",
    "full": "AmazonEC2ContainerRegistryFullAccess",
}
NETWORK = (
    "DockerNetworkingProtocol", "DockerIPv4AddressPool1", "DockerIPv4AddressPool2", "DockerIPv6AddressPool",
    "DockerFixedCidrV4", "DockerFixedCidrV6",
)  # fmt: skip


def daemon_file(values: Values) -> dict[str, Any]:
    """What /etc/docker/daemon.json has to hold for docker to be configured as on that stack, as far as it differs."""
    wanted: dict[str, Any] = {}
    dual = values["DockerNetworkingProtocol"] == "dualstack"
    if any(values.differs(name) for name in NETWORK):
        pools: list[dict[str, Any]] = [
            {"base": values["DockerIPv4AddressPool1"], "size": 20},
            {"base": values["DockerIPv4AddressPool2"], "size": 24},
        ]
        if dual:
            pools.append({"base": values["DockerIPv6AddressPool"], "size": 112})
            wanted |= {"ipv6": True, "ip6tables": True, "fixed-cidr-v6": values["DockerFixedCidrV6"]}
        if values["DockerFixedCidrV4"]:
            wanted["fixed-cidr"] = values["DockerFixedCidrV4"]
        wanted["default-address-pools"] = pools
    if values.on("EnableDockerExperimental"):
        wanted["experimental"] = True
    return wanted


def _daemon(values: Values) -> Outcome:
    line = json.dumps(daemon_file(values))
    return refused(
        "Docker runs as the distribution configures it.",
        f"Let the script of BootstrapUrl write /etc/docker/daemon.json, and restart docker if it runs: {line}",
    )


def _user_namespace(values: Values) -> Outcome:
    if not values.on("EnableDockerUserNamespaceRemap"):
        return unneeded("As here.")
    return changed(
        "Containers run without a user namespace: root in a container is root on the job's own VM.",
        'If files that containers write must belong to the job\'s user, write {"userns-remap": "buildkite-agent"} into '
        "/etc/docker/daemon.json and the ranges into /etc/subuid and /etc/subgid, in the script of BootstrapUrl. "
        "JobDocker=denied takes docker from jobs.",
    )


def _ecr(values: Values) -> Outcome:
    access, _, through = values["ECRAccessPolicy"].lower().partition("-")
    if access == "none":
        return unneeded("No access, as here.")
    if access not in POLICIES:
        return refused(f"{access} is no access that is known.", "Set EcrLogin, and InstanceManagedPolicies to push.")
    written = {"EcrLogin": "account"}
    do = ""
    if POLICIES[access] and not values["InstanceRoleARN"]:
        written["InstanceManagedPolicies"] = f"arn:aws:iam::aws:policy/{POLICIES[access]}"
    if through:
        do = "Attach a policy with ecr:BatchImportUpstreamImage and ecr:CreateRepository (InstanceManagedPolicies)."
    words = "docker is logged in to this account's registry in this region, for twelve hours, with the VM's rights."
    return changed(words, do, parameters=written) if do or POLICIES[access] else carried(words, parameters=written)


ROWS: tuple[Row, ...] = (
    recipe("EnableDockerUserNamespaceRemap", "true", OWN_FILE, _user_namespace, always=True),
    recipe("EnableDockerExperimental", "false", OWN_FILE, _daemon),
    recipe("DockerNetworkingProtocol", "ipv4", OWN_FILE, _daemon),
    recipe("DockerIPv4AddressPool1", "172.17.0.0/12", OWN_FILE, _daemon),
    recipe("DockerIPv4AddressPool2", "192.168.0.0/16", OWN_FILE, _daemon),
    recipe("DockerIPv6AddressPool", "2001:db8:2::/104", OWN_FILE, _daemon),
    recipe("DockerFixedCidrV4", "", OWN_FILE, _daemon),
    recipe("DockerFixedCidrV6", "2001:db8:1::/64", OWN_FILE, _daemon),
    recipe("ECRAccessPolicy", "none", "`EcrLogin` to pull; to push, a policy in `InstanceManagedPolicies`", _ecr),
    recipe(
        "EnableECRPlugin", "true", "`EcrLogin` for this account; the ecr plugin in a pipeline for others",
        needless("Without a plugin: EcrLogin, which ECRAccessPolicy turns on."),
    ),
    absent(
        "EnableECRCredentialHelper", "false",
        "`EcrLogin` logs docker in for twelve hours; no helper, because it would need the VM's role in each job",
        impossible(
            "docker is logged in for twelve hours by EcrLogin.", "For longer jobs install the helper in your image."
        ),
    ),
    recipe(
        "EnableDockerLoginPlugin", "true",
        "The docker-login plugin in the pipeline; its password in `JobEnvironmentParameter` or Buildkite's secrets",
        needless("It is off there, too."),
    ),
    absent("DockerPruneUntil", "4h", "Each job starts with an empty disk"),
    absent("EnablePreExitDiskCleanup", "false", "Each job starts with an empty disk"),
    absent("DockerBuilderPruneEnabled", "false", "Each job starts with an empty disk"),
)  # fmt: skip
