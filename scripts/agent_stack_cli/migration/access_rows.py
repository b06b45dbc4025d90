"""Rows about the network, roles, buckets, scripts and the bill."""

from agent_stack_cli.migration.rows import (
    Outcome,
    Row,
    Values,
    absent,
    carried,
    changed,
    covered,
    impossible,
    needless,
    recipe,
    refused,
    to,
    unneeded,
    where,
    with_setting,
)

SECRETS = (
    "While you move, set JobAccess=stack, BuildkiteOrganizationId and SecretsBucket: jobs then read the bucket by "
    "their pipeline's slug. Then move its files: private_ssh_key to an SSM parameter for GitSshKeyParameter, "
    "git-credentials to one for GitCredentialsParameter, env or environment to one for JobEnvironmentParameter "
    "({queue} in a name gives each queue its own). What belongs to one pipeline goes into Buildkite's secrets, which a "
    "job reads with buildkite-agent secret get NAME."
)
BUCKET = (
    "`SecretsBucket` with `JobAccess`=stack while you move; then `JobSecretsPath`, `GitSshKeyParameter`, "
    "`GitCredentialsParameter`, `JobEnvironmentParameter`"
)
ROLE_OF_JOBS = (
    "If jobs themselves call AWS with the VM's role, set JobMetadata=allowed (and MetadataHopLimit=2 for containers). "
    "Better, give them a role of their own: JobAccess=stack, or JobRoleArn."
)


def _secrets(values: Values) -> Outcome:
    if not values.on("EnableSecretsPlugin"):
        return unneeded("The secrets plugin is off.")
    bucket = values["SecretsBucket"] or "the bucket that the Elastic stack made"
    return refused(f"Jobs do not read {bucket}, so steps that need its secrets fail.", SECRETS)


def _artifacts(values: Values) -> Outcome:
    return changed(
        "The agent uploads with the VM's role, unless jobs have a role of their own. So JobMetadata=allowed lets jobs "
        "reach the VM's role, as on that stack.",
        "Set JobAccess=stack and BuildkiteOrganizationId, and take JobMetadata out of the file: each pipeline then "
        "has a prefix of its own, and no job reaches the VM's role.",
        parameters={"ArtifactBucket": values["ArtifactsBucket"], "JobMetadata": "allowed"},
    )


def _bootstrap(values: Values) -> Outcome:
    url = values["BootstrapScriptUrl"]
    if url.startswith("file:"):
        return refused("The script is fetched, by https:// or s3://.", f"Upload {url}, and name it in BootstrapUrl.")
    return changed(
        "It runs as root on each VM before git, docker and the agent are installed, for at most four minutes; when it "
        "fails, the boot fails.",
        "Read the script: what it configures of the Elastic image (cfn-env, the agent's unit and hooks) is not there. "
        "Set BootstrapSha256.",
        parameters={"BootstrapUrl": url},
    )


def _subnets_without_vpc(values: Values) -> bool:
    return bool(values.items("Subnets")) != bool(values["VpcId"])


def _vpc(values: Values) -> Outcome:
    if _subnets_without_vpc(values):
        return refused("VpcId and Subnets go together.", "Set both VpcId and Subnets, or neither.")
    return carried(parameters={"VpcId": values["VpcId"]})


def _subnets(values: Values) -> Outcome:
    if _subnets_without_vpc(values):
        return refused("VpcId and Subnets go together.", "Set both VpcId and Subnets, or neither.")
    return carried(
        "In each zone the one with most free addresses is used.",
        parameters={"Subnets": ",".join(values.items("Subnets"))},
    )


def _public_address(values: Values) -> Outcome:
    if values["VpcId"]:
        return changed(
            "In your own VPC the subnet decides whether a VM gets a public address.",
            "Check the subnets: MapPublicIpOnLaunch, or a route to a NAT gateway. VMs must reach the internet.",
        )
    if values.on("AssociatePublicIpAddress"):
        return unneeded("As here: each VM has a public address, and no port is open.")
    return changed(
        "VMs are in private subnets behind one NAT gateway, which is billed by the hour and by the GB.",
        parameters={"NetworkEgress": "nat"},
    )


def _zones(values: Values) -> Outcome:
    if values["VpcId"]:
        return unneeded("The subnets say which zones.")
    zones = ",".join(values.items("AvailabilityZones"))
    return changed("At most three zones count.", parameters={"NetworkZones": zones})


def _groups(values: Values) -> Outcome:
    if not values["VpcId"]:
        return refused(
            "Security groups belong to a VPC, and the VMs' VPC is made anew.",
            "Deploy, make groups in the VPC of the output VmVpc, and name them in VmSecurityGroups.",
        )
    return carried(parameters={"VmSecurityGroups": ",".join(values.items("SecurityGroupIds"))})


def _endpoints(values: Values) -> Outcome:
    if values["VpcId"]:
        return unneeded("A VPC of yours has its own endpoints.")
    if not values.on("EnableVpcEndpoints"):
        return unneeded("Off, as here.")
    return changed(
        "All are in the first zone. AWS charges for each by the hour.", parameters={"InterfaceEndpoints": "true"}
    )


def _of_functions(values: Values) -> Outcome:
    policies = ",".join(values.items("ScalerManagedPolicyARNs"))
    return changed(
        "Both functions' roles have them.",
        "Check whether they are still needed: the roles have what this stack needs. For a KMS key set KmsKeyArn.",
        parameters={"FunctionManagedPolicies": policies},
    )


def _managed(values: Values) -> Outcome:
    policies = values.items("ManagedPolicyARNs")
    if values["InstanceRoleARN"]:
        return unneeded("InstanceRoleARN is set: that role has its own policies.")
    if values["ArtifactsBucket"]:
        return carried(
            "Jobs reach the role, because of ArtifactsBucket.",
            parameters={"InstanceManagedPolicies": ",".join(policies)},
        )
    words = "The VM's role has them. Jobs reach the role only with JobMetadata=allowed."
    return changed(words, ROLE_OF_JOBS, parameters={"InstanceManagedPolicies": ",".join(policies)})


def _own_role(values: Values) -> Outcome:
    return changed(
        "The stack adds a policy to that role; the Elastic stack left the role as it was.",
        "The role must be one that EC2 may assume, and the deployment needs iam:PutRolePolicy on it.",
        parameters={"InstanceRoleName": values["InstanceRoleARN"].rpartition("/")[2]},
    )


def _role_tags(values: Values) -> Outcome:
    taken = values["CostAllocationTagName"] if values.on("EnableCostAllocationTags") else None
    tags = {tag.partition("=")[0]: tag for tag in values.items("InstanceRoleTags")}
    left = tags.pop(taken, "") if taken is not None else ""
    return changed(
        "CostTags tags VMs, volumes and the stack's resources, not the role alone."
        + (f" Left out: {left}, because the cost allocation tag has that name." if left else ""),
        parameters={"CostTags": ",".join(tags.values())} if tags else {},
    )


def _cost_tag(values: Values) -> Outcome:
    if not values.on("EnableCostAllocationTags"):
        return unneeded("Cost allocation tags are off.")
    tag = f"{values['CostAllocationTagName']}={values['CostAllocationTagValue']}"
    return carried("Together, they are one tag.", parameters={"CostTags": tag})


def _env_file(values: Values) -> Outcome:
    return refused(
        "The agent's settings are a parameter, not a file.",
        f"Copy the lines of {values['AgentEnvFileUrl']} into AgentEnvironment (at most 2,000 characters, no secrets); "
        "secrets for jobs go into the parameter that JobEnvironmentParameter names.",
    )


ROWS: tuple[Row, ...] = (
    covered("VpcId", "", "`VpcId`", _vpc),
    covered("Subnets", "", "`Subnets`", _subnets),
    covered("AvailabilityZones", "", "`NetworkZones`, of the VPC that is made", _zones),
    covered("SecurityGroupIds", "", "`VmSecurityGroups`", _groups),
    covered(
        "AssociatePublicIpAddress", "true", "`NetworkEgress`; in your own VPC the subnet decides", _public_address
    ),
    covered(
        "EnableVpcEndpoints", "false",
        "`InterfaceEndpoints`, in the VPC that is made; S3 and DynamoDB always have gateway endpoints", _endpoints,
    ),
    recipe("SecretsBucket", "", BUCKET, _secrets, always=True),
    absent("SecretsBucketRegion", "", "There is no secrets bucket"),
    absent("SecretsBucketEncryption", "false", "There is no secrets bucket; SecureStrings are encrypted"),
    absent("SecretsPluginSkipSSHKeyNotFoundWarning", "false", "There is no secrets plugin that could warn"),
    recipe("EnableSecretsPlugin", "true", BUCKET, needless("There is no secrets plugin.")),
    covered("ArtifactsBucket", "", "`ArtifactBucket`; best with `JobAccess`=stack", _artifacts),
    recipe(
        "ArtifactsBucketRegion", "", "`AgentEnvironment`: BUILDKITE_S3_DEFAULT_REGION",
        with_setting("BUILDKITE_S3_DEFAULT_REGION", "ArtifactsBucketRegion"),
    ),
    recipe(
        "ArtifactsS3ACL", "private", "`AgentEnvironment`: BUILDKITE_S3_ACL; else bucket-owner-full-control",
        with_setting("BUILDKITE_S3_ACL", "ArtifactsS3ACL"),
    ),
    covered("BootstrapScriptUrl", "", "`BootstrapUrl`, with `BootstrapSha256`", _bootstrap),
    recipe("AgentEnvFileUrl", "", "`AgentEnvironment` holds the lines themselves", _env_file),
    covered("ManagedPolicyARNs", "", "`InstanceManagedPolicies`; jobs use them with `JobMetadata`=allowed", _managed),
    covered("ScalerManagedPolicyARNs", "", "`FunctionManagedPolicies`", _of_functions),
    covered("InstanceRoleARN", "", "`InstanceRoleName` names your role", _own_role),
    absent(
        "InstanceRoleName", "",
        "CloudFormation names the role that is made, because a role with a name of its own could not be replaced; "
        "`InstanceRoleName` here is your own role",
        impossible(
            "Not carried over: the same name means an existing role here, and the role that is made gets its name "
            "from CloudFormation.",
            "Grant by the stack's output InstanceRole, or with RolePath by path.",
        ),
    ),
    covered(
        "InstanceRolePermissionsBoundaryARN", "", "`PermissionsBoundary`, for all roles of the stack",
        to("PermissionsBoundary", "InstanceRolePermissionsBoundaryARN", "All roles of the stack get it."),
    ),
    recipe("InstanceRoleTags", "", "`CostTags`, which all resources get", _role_tags),
    covered(
        "IMDSv2Tokens", "optional", "Always required; `JobMetadata` says whether jobs reach it at all",
        where(
            "IMDSv2Tokens", {"required": needless("Always required.")},
            lambda _: changed(
                "Version 1 of the metadata service is off, and jobs do not reach version 2 by default.", ROLE_OF_JOBS
            ),
        ),
        always=True,
    ),
    covered("EnableCostAllocationTags", "false", "`CostTags`", _cost_tag),
    covered("CostAllocationTagName", "CreatedBy", "`CostTags`", _cost_tag),
    covered("CostAllocationTagValue", "buildkite-elastic-ci-stack-for-aws", "`CostTags`", _cost_tag),
)  # fmt: skip
