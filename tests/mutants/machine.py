"""Mutants of the boot program: what keeps a VM's secrets, what it trusts, and which signals it hears."""

from tests.mutants.mutant import Layer, Mutant, one

_HOSTILE = "tests/vm/test_hostile_jobs.py"
_ENVIRONMENTS = "tests/vm/test_hostile_environments.py"
_PRIVATE = "tests/vm/test_private_work.py"
_VALUES = "tests/vm/test_values.py"
_STAGES = "tests/vm/test_second_stage.py"
_STANDBY = "tests/vm/test_standby.py"

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
    one(
        Layer.VM,
        "let a queue's key lead to another queue's secret",
        "infra/vm/values.sh",
        "|| ${mail[queue_key]} =~ $key ]] ||",
        "|| -v mail[queue_key] ]] ||",
        f"{_VALUES}::test_a_queue_whose_key_could_lead_elsewhere_gets_no_parameter",
    ),
    one(
        Layer.VM,
        "read a parameter whose name a path could misread",
        "infra/vm/values.sh",
        "  [[ $2 =~ $whole && ! $2 =~ $dots ]] ||",
        "  [[ $2 =~ $whole ]] ||",
        f"{_VALUES}::test_a_name_that_a_shell_or_a_path_could_misread_is_refused",
    ),
    one(
        Layer.VM,
        "read a parameter whose name a shell could misread",
        "infra/vm/values.sh",
        "  [[ $2 =~ $whole && ! $2 =~ $dots ]] ||",
        "  [[ ! $2 =~ $dots ]] ||",
        f"{_VALUES}::test_a_name_that_a_shell_or_a_path_could_misread_is_refused",
    ),
    *(
        one(
            Layer.VM,
            f"let a standby VM with a job stay silent while it {does}",
            file,
            f"{function}\n  tell_that_it_lives\n",
            f"{function}\n",
            f"{_STANDBY}::{test}",
        )
        for does, file, function, test in (
            (
                "reads parameters",
                "infra/vm/values.sh",
                "  ((${#wanted[@]})) || return 0",
                "test_until_it_has_a_job_it_asks_for_no_secret_and_holds_none",
            ),
            (
                "logs in to registries",
                "infra/vm/docker.sh",
                "log_in_to_ecr() {",
                "test_it_tells_that_it_lives_before_it_asks_for_a_registry_login",
            ),
        )
    ),
    one(
        Layer.VM,
        "ship no log of a standby VM before its job",
        "infra/vm/standby.sh",
        '  ship_logs "$SHIP_SECONDS"\n',
        "  ship_logs 0\n",
        f"{_STANDBY}::test_a_closed_mailbox_ends_it_quietly_within_a_second",
    ),
    one(
        Layer.VM,
        "tell again and again that a standby VM lives",
        "infra/vm/standby.sh",
        "  told_that_it_lives=1\n",
        "",
        f"{_STANDBY}::test_until_it_has_a_job_it_asks_for_no_secret_and_holds_none",
    ),
    one(
        Layer.VM,
        "read the parameter of no queue's key",
        "infra/vm/values.sh",
        "|| -n ${mail[queue_key]} ]] ||",
        "|| -v mail[queue_key] ]] ||",
        f"{_VALUES}::test_a_queue_that_is_named_by_an_alias_gets_no_parameter_by_its_key",
    ),
    *(
        one(
            Layer.VM,
            f"take {pattern} among jobs' variables",
            "infra/vm/values.sh",
            f"CONTROLS='^({before})$'",
            f"CONTROLS='^({before.replace(pattern, 'NONE')})$'",
            f"{_VALUES}::test_a_name_that_controls_programs_or_the_agent_is_refused_with_parameter_line_and_remedy",
        )
        for before in ["LD_.*|PATH|ENV|BASH_ENV|BASHOPTS|SHELLOPTS|BUILDKITE|BUILDKITE_.*|AGENT_STACK_.*"]
        for pattern in ("LD_.*", "BUILDKITE_.*", "AGENT_STACK_.*")
    ),
    one(
        Layer.VM,
        "crop a logged line before the credential is out of it",
        "infra/vm/logs.sh",
        "      text=${line//[^[:print:]]/ }\n",
        "      text=${line//[^[:print:]]/ } text=${text:0:1000}\n",
        f"{_PRIVATE}::test_a_credential_at_the_place_where_a_line_is_cropped_is_redacted",
    ),
    one(
        Layer.VM,
        "crop the agent's last words before the credential is out of them",
        "infra/vm/agent.sh",
        """  said=${wrong//"$credential"/***}\n""",
        """  ((${#wrong} <= DETAIL_BYTES)) || wrong=...${wrong: -DETAIL_BYTES}\n  said=${wrong//"$credential"/***}\n""",
        "tests/vm/test_agent_ends.py::test_long_last_words_are_cropped_from_the_front_and_leave_no_part_of_the_credential",
    ),
    one(
        Layer.VM,
        "show what signs a URL",
        "infra/vm/downloads.sh",
        "shown=${1%%\\?*}",
        "shown=$1",
        f"{_PRIVATE}::test_a_download_that_fails_is_named_without_what_signs_it",
    ),
    one(
        Layer.VM,
        "let every job read the proxy's password",
        "infra/vm/requests.sh",
        "  [[ $PROXY != *@* ]] ||",
        "  true ||",
        "tests/vm/test_patience.py::test_a_proxy_with_a_password_is_refused_without_saying_it",
    ),
    one(
        Layer.VM,
        "forget a signal that comes before the agent",
        "infra/vm/agent.sh",
        "|| stop_missed=1; }",
        "|| true; }",
        "tests/vm/test_agent_begins.py::test_a_signal_before_the_agent_began_stops_it_once_it_did",
    ),
    one(
        Layer.VM,
        "run a second stage with any digest",
        "infra/vm/program.sh",
        '  actual=$(sha256sum <"$RUN/program.new")\n',
        '  actual="$PROGRAM_SHA256  -"\n',
        f"{_STAGES}::test_a_program_that_cannot_be_trusted_or_had_is_told_and_costs_no_credential",
        "-k",
        "another",
    ),
)
