#!/usr/bin/env bash
# One VM's boot program, first stage: who the VM is, its mailbox, its reports, and the fetch of the second stage.
# Runs in a unit whose end powers off. The files it sources are packed into it. User data carries this stage, and names
# the second one (job.sh) by its hash: it prepares the VM, takes the credential and runs one agent.
set -euo pipefail
umask 077
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin

BOOT_UNIT='agent-stack-boot'
AGENT_UNIT='agent-stack-agent' # not the packaged unit's name: systemd refuses a transient one that has a file
AGENT_USER='buildkite-agent'
IMDS=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
RUN=${RUNTIME_DIRECTORY:-/run/agent-stack} # systemd sets these from the unit's properties
STATE=${STATE_DIRECTORY:-/var/lib/agent-stack}
PROGRAMS=${CACHE_DIRECTORY:-/var/cache/agent-stack}
HOOKS=${CONFIGURATION_DIRECTORY:-/etc/buildkite-agent}/hooks
PRIVATE=$RUN/private
ENVIRONMENT=$RUN/agent.env
BOOT_LOG=$STATE/boot.log
LOG=$STATE/agent.log

bound=0   # 1: the mailbox holds a job, reports may be written
waiter='' # the process that waits for the agent; until then a failure is this program's to tell
ran=0     # 1: the agent was seen running
# hold: seconds for which a VM that was launched to stand by may wait for a job; empty for any other VM
hold='' reason='' error='' imds_token='' keys_at=-1000 clock_set=0
answer='' status='' served_at='' trouble='' curl_code=0 # of the last request
credential='' agent_token='' text='' field=''           # an unset one would end the program and hide why
curl_signs=1 # 0: this curl is too old to sign
declare -A mail endpoint sent signing value version=([dynamodb]=1.0 [ssm]=1.1 [logs]=1.1 [ecr]=1.1)

# --- Ends: every path leads to power-off ---

say() {
  printf 'agent-stack: %s\n' "$*"
  [[ -z ${LOG_GROUP:-} ]] || printf '%s\n' "$*" >>"$BOOT_LOG" || true
}

fail() {
  reason=$1
  exit 1
}

# The second stage has more to do here (hold.sh).
# shellcheck disable=SC2329
tell_failure() {
  [[ -z $hold ]] || find_job # one may have come while it prepared
  report failed "$reason" 10
}

# The one way out. A failure before the agent ran is reported, so that the job can be requeued.
on_exit() {
  local code=$?
  trap '' HUP INT TERM
  set +e
  rm -rf "$ENVIRONMENT" "$PRIVATE"
  if ((code)); then
    say "failed: ${reason:=boot program ended unexpectedly with code $code}"
    [[ -n $waiter ]] || tell_failure
  fi
  say "powering off"
  if [[ -n ${LINES_A_REQUEST:-} ]]; then # the second stage is there
    keep_journal
    ship_logs "${last_ship_seconds:-5}"
  fi
  systemctl poweroff || systemctl poweroff --force
}

# A signal stops the agent, whose end is still reported; without an agent it ends the program.
on_signal() {
  say "received SIG$1"
  [[ -n $waiter ]] || fail "stopped by SIG$1"
  stop_agent
}

# shellcheck source=requests.sh
source "${BASH_SOURCE%/*}/requests.sh"
# shellcheck source=mailbox.sh
source "${BASH_SOURCE%/*}/mailbox.sh"
# shellcheck source=program.sh
source "${BASH_SOURCE%/*}/program.sh"

# The settings as user data holds them, byte for byte: systemd's own reader of such files knows quotes and backslashes.
read_settings() {
  local line
  while IFS= read -r line; do
    [[ -z $line ]] || export "${line?}"
  done <"$1"
}

check_settings() {
  local name
  for name in MAILBOX_TABLE DEPLOYMENT_REGION UNASSIGNED_TIMEOUT_SECONDS AGENT_VERSION AGENT_DOWNLOAD_URL PROGRAM_SHA256; do
    local -n setting=$name
    [[ -n ${setting:-} ]] || fail "user data does not set $name"
    [[ $name != *_SECONDS || $setting =~ ^[1-9][0-9]*$ ]] || fail "$name is not a number of seconds"
  done
}

main() {
  trap on_exit EXIT
  trap 'on_signal HUP' HUP
  trap 'on_signal INT' INT
  trap 'on_signal TERM' TERM
  read_settings "${BASH_SOURCE%/*}/settings"
  check_settings
  use_proxy
  check_curl
  identify
  find_program || say "second stage: $error"
  if metadata meta-data/tags/instance/agent-stack:hold 1; then
    hold=$answer # it was launched to stand by
  else
    await_mailbox
    read_mailbox
    report booting "" 3
  fi
  until_program
  # shellcheck source=job.sh
  source "$RUN/program.sh"
  [[ -z $hold ]] || stand_by
  run_job
}

main
