"""Rows of the groups Base, Signed Pipelines and Advanced, as far as they are about Buildkite and its agent."""

from agent_stack_cli.migration.rows import (
    Fate,
    Outcome,
    Row,
    Values,
    absent,
    carried,
    changed,
    covered,
    needless,
    recipe,
    refused,
    to,
    unneeded,
    where,
)
from agent_stack_cli.parameter_rules import MAX_STACK_KEY

OWN_TOKEN = "/buildkite/agent-token"  # noqa: S105  (the name of a parameter, not a token)
LONGEST_GRACE = 80
"""Of JobGraceSeconds: EC2 announces the end of a spot VM 120 s before it, and the agent needs the rest."""

PUT_TOKEN = (
    "Store an agent token of the cluster where the new stack reads it, in its region: aws ssm put-parameter "
    f"--type SecureString --name {OWN_TOKEN} --value TOKEN"
)


LONGEST_QUEUE = MAX_STACK_KEY - 2
"""Of a queue's key: a stack key of one character and a hyphen stand before it."""


def _queue(values: Values) -> Outcome:
    """The queue, where a stack key fits before its key."""
    key = values["BuildkiteQueue"]
    if len(key) <= LONGEST_QUEUE:
        return carried("", parameters={"Queues": key})
    return Outcome(
        fate=Fate.NOT_POSSIBLE,
        words=f"The queue's key has {len(key)} characters. This stack registers as its stack key and the queue's key, "
        f"which together have {MAX_STACK_KEY} at most.",
        do="Make a queue with a shorter key, and set `Queues` to it.",
    )


def _token(values: Values) -> Outcome:
    if values["BuildkiteAgentTokenParameterStorePath"].strip("/"):
        return unneeded("BuildkiteAgentTokenParameterStorePath takes its place.")
    return changed("A plain token is a parameter of no stack here; it is not written to any file.", PUT_TOKEN)


def _token_path(values: Values) -> Outcome:
    path = values["BuildkiteAgentTokenParameterStorePath"]
    if path.startswith("arn:"):
        return changed(
            "It must be a SecureString of this region; of another account it must be shared with this one, which takes "
            "the advanced tier.",
            "A parameter of this account can be named without its ARN, which scripts/deploy can check.",
            parameters={"AgentTokenParameter": path},
        )
    if path.strip("/"):
        return carried(
            "It must be a SecureString; scripts/deploy checks that.", parameters={"AgentTokenParameter": path}
        )
    own = f"/{values.stack}/buildkite/agent-token" if values.stack else "/STACK/buildkite/agent-token"
    do = PUT_TOKEN if not values["BuildkiteAgentToken"] else ""  # else its own row says so
    return changed(
        f"That stack keeps the token as plain text in {own}, and deletes it with the stack.",
        do,
        parameters={"AgentTokenParameter": OWN_TOKEN},
    )


def _token_key(values: Values) -> Outcome:
    key = values["BuildkiteAgentTokenParameterStoreKMSKey"]
    if not key.startswith("arn:") or ":key/" not in key:
        return refused(
            "The key is named by its ARN here.",
            f"Set AgentTokenKeyArn: aws kms describe-key --key-id {key} --query KeyMetadata.Arn --output text",
        )
    return carried(parameters={"AgentTokenKeyArn": key})


def _tags(values: Values) -> Outcome:
    items = values.items("BuildkiteAgentTags")
    usable = [item for item in items if "=" in item and item.partition("=")[0] not in {"queue", "class"}]
    left = [item for item in items if item not in usable]
    written = {"AgentTags": ",".join(usable)} if usable else {}
    if not left:
        return carried("Every class offers them.", parameters=written)
    return changed(
        f"Every class offers them, except {', '.join(left)}: a tag is key=value; the stack sets queue and class.",
        "Pipelines that ask for the tags that were left out need key=value; other queues belong in Queues.",
        parameters=written,
    )


def _release(values: Values) -> Outcome:
    pinned = "One version is installed where the image has none, AgentVersion; a new release is a new deployment."
    release = values["BuildkiteAgentRelease"]
    if release == "stable":
        return changed(pinned)
    if release == "oldstable":
        do = (
            "Set AgentVersion to the version 3 that you use, at least 3.133: buildkite-agent --version on a VM says it."
        )
        return changed(pinned, do)
    channel = {"beta": "unstable", "edge": "experimental"}.get(release, "unstable")
    return changed(pinned, f"For {release} set AgentChannel={channel} and AgentVersion to a version of that channel.")


def _tracing(values: Values) -> Outcome:
    backend = values["BuildkiteAgentTracingBackend"]
    if backend == "opentelemetry":
        do = "Add OTEL_EXPORTER_OTLP_ENDPOINT=https://… to AgentEnvironment: no collector runs on the VM."
        return changed("Traces go where AgentEnvironment says.", do, parameters={"AgentTracing": backend})
    if backend == "datadog" and values["BuildkiteAgentRelease"] == "oldstable":
        do = "Add the address of your Datadog agent to AgentEnvironment (DD_AGENT_HOST)."
        return changed("Needs version 3 of the agent.", do, parameters={"AgentTracing": backend})
    return refused(
        "Version 4 of the agent traces with opentelemetry only.",
        "Set AgentTracing=opentelemetry and OTEL_EXPORTER_OTLP_ENDPOINT in AgentEnvironment, or AgentVersion to a "
        "version 3 and AgentTracing=datadog.",
    )


def _grace(name: str, seconds: float) -> Outcome:
    if seconds > LONGEST_GRACE:
        words = f"{LONGEST_GRACE} s is the most that a spot notice leaves. It also bounds a cancelled job."
        do = f"Let jobs end within {LONGEST_GRACE} s of SIGTERM; {name} was {seconds:g} s."
        return changed(words, do, parameters={"JobGraceSeconds": str(LONGEST_GRACE)})
    return carried(
        "The agent has 20 s more for the rest of the log.", parameters={"JobGraceSeconds": f"{max(1, seconds):g}"}
    )


def _cancel(values: Values) -> Outcome:
    if values.number("BuildkiteAgentSignalGracePeriod") > 0:
        return unneeded("BuildkiteAgentSignalGracePeriod says how long the processes of a job get.")
    return _grace("BuildkiteAgentCancelGracePeriod", values.number("BuildkiteAgentCancelGracePeriod"))


def _signal(values: Values) -> Outcome:
    seconds = values.number("BuildkiteAgentSignalGracePeriod")
    if seconds < 0:
        return unneeded("It is counted from BuildkiteAgentCancelGracePeriod, which is JobGraceSeconds here.")
    return _grace("BuildkiteAgentSignalGracePeriod", seconds)


ONE_JOB = "each job gets a VM of its own, which ends with it"

ROWS: tuple[Row, ...] = (
    recipe("BuildkiteAgentToken", "", "Only as an SSM parameter: `AgentTokenParameter` names it", _token, secret=True),
    covered(
        "BuildkiteAgentTokenParameterStorePath", "",
        "`AgentTokenParameter`; by its ARN where another account shares it", _token_path, always=True,
    ),
    covered("BuildkiteAgentTokenParameterStoreKMSKey", "", "`AgentTokenKeyArn`, by the key's ARN", _token_key),
    covered("BuildkiteQueue", "default", "`Queues`: one or several", _queue, always=True),
    covered(
        "AgentEndpoint", "https://agent-edge.buildkite.com/v3",
        "`BuildkiteEndpoint`", to("BuildkiteEndpoint", "AgentEndpoint"),
    ),
    covered(
        "BuildkiteAgentRelease", "stable", "`AgentVersion` pins one version; `AgentChannel` is its channel",
        _release, always=True,
    ),
    covered(
        "BuildkiteAgentTags", "", "`AgentTags` for all classes, the class field `agent_tags` for one", _tags
    ),
    absent(
        "BuildkiteAgentTimestampLines", "false",
        "Version 4 of the agent has no such option; the build page shows when each line was written",
    ),
    covered(
        "BuildkiteAgentExperiments", "", "`AgentExperiments`",
        to("AgentExperiments", "BuildkiteAgentExperiments", "An agent of another version may know others."),
    ),
    covered(
        "BuildkiteAgentEnableGitMirrors", "false", "`GitMirrors`: the repositories whose mirrors VMs make of seeds",
        where(
            "BuildkiteAgentEnableGitMirrors", {"false": needless("No repository has a mirror.")},
            lambda _: changed(
                "A fresh VM has no mirror that an earlier job left. What GitMirrors does not list is cloned.",
                "List the large repositories in GitMirrors, and run the pipeline that makes their seeds "
                "(docs/tasks/caches.md).",
            ),
        ),
    ),
    covered(
        "GitMirrorSeedBucket", "", "`GitMirrorSeedBucket`, in the same layout but no .zip",
        to("GitMirrorSeedBucket", "GitMirrorSeedBucket", "GitMirrors lists the repositories whose seeds are read."),
    ),
    covered("BuildkiteAgentTracingBackend", "", "`AgentTracing`, with the address in `AgentEnvironment`", _tracing),
    covered("BuildkiteAgentCancelGracePeriod", "60", "`JobGraceSeconds`, at most 80", _cancel),
    covered("BuildkiteAgentSignalGracePeriod", "-1", "`JobGraceSeconds`, at most 80", _signal),
    covered(
        "BuildkiteTerminateInstanceAfterJob", "false", f"Always so: {ONE_JOB}",
        where(
            "BuildkiteTerminateInstanceAfterJob", {"true": needless(f"Always so: {ONE_JOB}.")},
            lambda _: changed(
                f"Here {ONE_JOB}. Checkouts, docker layers and caches of earlier jobs are not there, and nothing "
                "has to be cleaned up.",
                "Look for steps that rely on files of earlier jobs, and keep their caches outside of the VM.",
            ),
        ),
        always=True,
    ),
    absent(
        "BuildkiteAgentDisconnectAfterUptime", "0",
        f"{ONE_JOB}. `MaxLifetimeSeconds` ends a VM with its job, so it is not the same",
    ),
    absent("BuildkiteTerminateInstanceOnDiskFull", "false", "Each job starts with an empty disk"),
    absent("BuildkitePurgeBuildsOnDiskFull", "false", "Each job starts with an empty disk"),
    recipe(
        "BuildkiteAdditionalSudoPermissions", "",
        "`BootstrapUrl` with docs/examples/bootstrap/sudo-commands.sh; `JobSudo` itself is all or nothing",
        lambda values: refused(
            "JobSudo allows everything or nothing.",
            "Let the script of BootstrapUrl write /etc/sudoers.d/ci: buildkite-agent ALL=(root) NOPASSWD: "
            + ", ".join(values.items("BuildkiteAdditionalSudoPermissions")),
        ),
    ),
)  # fmt: skip
