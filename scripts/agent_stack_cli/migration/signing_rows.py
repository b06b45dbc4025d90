"""Rows of the group Signed Pipelines."""

from agent_stack_cli.migration.rows import (
    Outcome,
    Row,
    Values,
    covered,
    impossible,
    recipe,
    refused,
    to,
    unneeded,
    with_setting,
)

KMS_SIGNING = (
    "set BUILDKITE_AGENT_SIGNING_AWS_KMS_KEY in AgentEnvironment, JobMetadata=allowed, and a policy with kms:Sign, "
    "kms:Verify and kms:GetPublicKey for the key in InstanceManagedPolicies"
)


def _kms_key(values: Values) -> Outcome:
    if values["PipelineSigningKMSKeySpec"] == "none" and not values["PipelineSigningKMSKeyId"]:
        return unneeded("Signing is off.")
    key = values["PipelineSigningKMSKeyId"] or "the key that the Elastic stack made (it keeps it when it is deleted)"
    return refused(
        f"No parameter grants a signing key. Key: {key}.",
        f"With that key: {KMS_SIGNING}. Without KMS: SigningKeyParameter and VerificationKeyParameter.",
    )


ROWS: tuple[Row, ...] = (
    recipe("PipelineSigningKMSKeyId", "", f"For a key in KMS {KMS_SIGNING}", _kms_key),
    recipe("PipelineSigningKMSKeySpec", "none", "Make the key yourself; then as `PipelineSigningKMSKeyId`", _kms_key),
    recipe(
        "PipelineSigningKMSAccess", "sign-and-verify",
        "The key's policy decides; with keys in SSM, a stack with `VerificationKeyParameter` alone only verifies",
        impossible(
            "What a VM may do with the key is decided by the policy that you attach.",
            "Leave kms:Sign out of that policy; with keys in SSM set VerificationKeyParameter alone.",
        ),
    ),
    recipe(
        "PipelineSigningVerificationFailureBehavior", "block",
        "`AgentEnvironment`: BUILDKITE_AGENT_JOB_VERIFICATION_NO_SIGNATURE_BEHAVIOR",
        with_setting(
            "BUILDKITE_AGENT_JOB_VERIFICATION_NO_SIGNATURE_BEHAVIOR", "PipelineSigningVerificationFailureBehavior"
        ),
    ),
    covered(
        "BuildkiteAgentSigningKeySSMParameter", "", "`SigningKeyParameter`; a job can read it",
        to("SigningKeyParameter", "BuildkiteAgentSigningKeySSMParameter", "A job can read the key."),
    ),
    recipe(
        "BuildkiteAgentSigningKeyID", "", "`AgentEnvironment`: BUILDKITE_AGENT_SIGNING_JWKS_KEY_ID",
        with_setting("BUILDKITE_AGENT_SIGNING_JWKS_KEY_ID", "BuildkiteAgentSigningKeyID"),
    ),
    covered(
        "BuildkiteAgentVerificationKeySSMParameter", "", "`VerificationKeyParameter`",
        to("VerificationKeyParameter", "BuildkiteAgentVerificationKeySSMParameter"),
    ),
)  # fmt: skip
