# shellcheck shell=bash
# A VM whose boot failed may stay up, so that a person can look into it (HoldOnFailureMinutes). The tracker decides, and
# says so in the mailbox, in an attribute that the VM's role reads and cannot write. It holds no VM that took a credential.

SECRETS=("$ENVIRONMENT" "$PRIVATE") # every file of the job's secrets; code that writes one elsewhere adds it

# Whether the tracker may hold this VM: the setting is on, it has a job, and it never asked for the credential. From the
# ask on, an answer that nothing has read yet may have it.
may_be_held() { ((bound && !credential_asked)) && [[ ${HOLD_ON_FAILURE_MINUTES:-0} != 0 ]]; }

# In place of the first stage's, which cannot hold.
tell_failure() {
  local mark=''
  [[ -z $hold ]] || find_job # one may have come while it prepared
  ! may_be_held || mark='(waits) ' # the tracker knows it by this
  report failed "$mark$reason" 10
  [[ -z $mark ]] || await_hold
}

# Waits, for a bounded time, whether the tracker holds the VM. Returns when it does not: then the VM powers off as always.
await_hold() {
  local until
  remove_secrets || { say "not held: the job's user or its secrets are still there" && return 0; }
  keep_journal
  ship_logs 5
  trap - HUP INT TERM # a signal means that the VM is being ended: nothing is left to be said
  tick
  until=$((now + ${HOLD_VERDICT_SECONDS:-90}))
  while tick && ((now < until)); do
    if dynamodb GetItem '"ConsistentRead":true,"ProjectionExpression":"hold_seconds"' 0 && json "$answer" hold_seconds; then
      [[ ! $field =~ ^[1-9][0-9]{0,4}$ ]] || ((field > HOLD_ON_FAILURE_MINUTES * 60)) || stay_up "$field"
    fi
    sleep 1
  done
  trap '' HUP INT TERM
  say "not held"
}

# Nothing of the job's is left to a person who opens a shell: no process of its user, no file, no value in this program.
# Fails when that is not known.
remove_secrets() {
  local name
  for name in "$AGENT_UNIT" agent-stack-ssh; do
    ! systemctl is-active --quiet "$name" || systemctl stop "$name"
  done
  end_users_processes || return 1
  rm -rf "${SECRETS[@]}"
  for name in "${SECRETS[@]}"; do
    [[ ! -e $name ]] || return 1
  done
}

end_users_processes() {
  local until code
  id -u "$AGENT_USER" >/dev/null 2>&1 || return 0 # the boot failed before there was one
  command -v pkill >/dev/null || return 1
  pkill -KILL -u "$AGENT_USER"
  tick
  until=$((now + 10))
  while :; do
    pgrep -u "$AGENT_USER" >/dev/null && code=0 || code=$?
    tick
    case $code in
      0) ((now < until)) || return 1 ;;
      1) return 0 ;; # none
      *) return 1 ;; # pgrep is missing, or failed
    esac
    sleep 0.2
  done
}

# Becomes a sleep: this program's memory is gone, and its unit powers the VM off when the sleep ends, however it ends.
stay_up() {
  say "held for $1 s"
  ship_logs 5
  trap - EXIT
  exec sleep "$1"
}
