"""All parameters of the Elastic CI Stack: templates/aws-stack.yml of August 2026 (commit b4948d8)."""

from agent_stack_cli.migration import access_rows, buildkite_rows, docker_rows, scaling_rows, signing_rows, vm_rows
from agent_stack_cli.migration.rows import Row, Values

GROUPS: dict[str, tuple[Row, ...]] = {
    "Buildkite and its agent": buildkite_rows.ROWS,
    "Signed pipelines": signing_rows.ROWS,
    "VMs": vm_rows.ROWS,
    "Network, roles, buckets and tags": access_rows.ROWS,
    "How many VMs, and logs": scaling_rows.ROWS,
    "Docker and plugins": docker_rows.ROWS,
}
ROWS: dict[str, Row] = {row.name: row for rows in GROUPS.values() for row in rows}
DEFAULTS: dict[str, str] = {row.name: row.default for row in ROWS.values()}


def values(given: dict[str, str], stack: str = "") -> Values:
    """The parameters of one Elastic CI Stack: those that are given, and the defaults of the others."""
    return Values(given={name: given[name] for name in given if name in ROWS}, defaults=DEFAULTS, stack=stack)
