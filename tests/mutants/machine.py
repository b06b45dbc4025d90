"""Mutants of the boot program: what keeps a VM's secrets, and what it trusts."""

from tests.mutants.mutant import Layer, Mutant, one

_HOSTILE = "tests/vm/test_hostile_jobs.py"
_ENVIRONMENTS = "tests/vm/test_hostile_environments.py"
_PRIVATE = "tests/vm/test_private_work.py"

MUTANTS = (
    one(
        Layer.VM,
        "run a program with any checksum",
        "infra/vm/downloads.sh",
        '  actual=$(sha256sum <"$3")\n',
        '  actual="$2  -"\n',
        "tests/vm/test_boot_program.py",
        "-k",
        "cannot_be_trusted",
    ),
    Mutant(
        layer=Layer.VM,
        name="leave the credential in a file",
        changes=(
            (
                "infra/vm/agent.sh",
                '  mkfifo -m 0644 "$PRIVATE/token" || fail',
                '  touch "$PRIVATE/token" || fail',
            ),
            ("infra/vm/agent.sh", '    rm -f "$PRIVATE/token"\n', "    :\n"),
        ),
        tests=(f"{_HOSTILE}::test_the_credential_is_in_no_file_while_the_job_runs",),
    ),
    one(
        Layer.VM,
        "let the ssh-agent load a job's libraries",
        "infra/vm/private.sh",
        "    ssh-agent -D -P none -a ",
        "    ssh-agent -D -P '*' -a ",
        f"{_ENVIRONMENTS}::test_the_key_can_be_used_and_the_ssh_agent_takes_no_library",
    ),
    one(
        Layer.VM,
        "follow a redirect to plain http",
        "infra/vm/downloads.sh",
        'proto-redir = \\"=https\\""',
        'proto-redir = \\"=http,https\\""',
        "tests/vm/test_boot_program.py::test_what_does_not_come_over_https_is_not_run",
    ),
    one(
        Layer.VM,
        "write files that everybody can read",
        "infra/vm/boot.sh",
        "umask 077\n",
        "umask 022\n",
        f"{_HOSTILE}::test_what_root_writes_before_the_agent_is_for_root",
    ),
    one(
        Layer.VM,
        "leave a job's secrets for everybody to read",
        "infra/vm/private.sh",
        """  printf '%s' "$text" | install -m 0600 """,
        """  printf '%s' "$text" | install -m 0644 """,
        f"{_PRIVATE}::test_keys_are_read_for_the_jobs_queue_and_end_with_the_agent",
    ),
    one(
        Layer.VM,
        "let an agent and its jobs dump core",
        "infra/vm/agent.sh",
        "-p LimitCORE=0 ",
        "",
        "tests/vm/test_agent_settings.py::test_the_operators_variables_for_jobs_are_hidden_in_logs_whatever_their_names",
    ),
    one(
        Layer.VM,
        "let the ssh-agent dump core",
        "infra/vm/private.sh",
        " -p LimitCORE=0 ",
        " ",
        f"{_ENVIRONMENTS}::test_the_key_can_be_used_and_the_ssh_agent_takes_no_library",
    ),
    one(
        Layer.VM,
        "show jobs' variables in logs",
        "infra/vm/environment.sh",
        "    redacted+=,$name\n",
        "    :\n",
        "tests/vm/test_agent_settings.py::test_the_operators_variables_for_jobs_are_hidden_in_logs_whatever_their_names",
    ),
    one(
        Layer.VM,
        "take any key of a listed git server",
        "infra/vm/known_hosts.sh",
        "StrictHostKeyChecking yes\n",
        "StrictHostKeyChecking accept-new\n",
        "tests/vm/test_host_keys.py::test_only_hosts_that_are_not_listed_are_known_by_what_they_show_first",
    ),
    one(
        Layer.VM,
        "trust a mirror's checksum for an agent that is known",
        "infra/vm/prepare.sh",
        "  if [[ -z $expected ]]; then\n    say",
        "  if true; then\n    say",
        "tests/vm/test_pinned_agent.py::test_a_mirror_whose_checksum_fits_its_agent_is_not_trusted",
    ),
    one(
        Layer.VM,
        "show a spot notice through a job's link",
        "infra/vm/agent.sh",
        '/dev/stdin "$RUN/spot-notice"',
        '/dev/stdin "$PRIVATE/spot-notice"',
        f"{_HOSTILE}::test_a_name_in_the_jobs_own_directory_leads_root_nowhere_else",
    ),
)
