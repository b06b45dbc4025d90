# shellcheck shell=bash
# A VM that stands by: prepared before it has a job. Until then it has run nothing of anybody's and holds no credential.

stand_by() {
  [[ $hold =~ ^[1-9][0-9]{0,6}$ ]] || fail "tag agent-stack:hold is not a number of seconds"
  arm_lifetime agent-stack-standby "$((hold + MAX_LIFETIME_SECONDS))" agent-stack-lifetime
  prepare
  say "stands by"
  ship_logs "$SHIP_SECONDS"
  await_job
  arm_lifetime agent-stack-job "$MAX_LIFETIME_SECONDS" agent-stack-standby
  read_mailbox
}

# A timer $1 that ends the VM after $2 seconds, in place of timer $3, which goes once the new one runs.
arm_lifetime() {
  systemd-run -q -u "$1" --on-active="$2s" --timer-property=AccuracySec=1s systemctl poweroff ||
    fail "lifetime timer cannot be armed"
  systemctl stop "$3.timer" || say "timer $3 cannot be stopped"
}

told_that_it_lives=0

# A standby VM that has a job and reports nothing for 20 s counts as dead, until it has the credential. So it reports once,
# before the first request that may take longer. A VM that did not stand by has reported before.
tell_that_it_lives() {
  [[ -n $hold ]] && ((!told_that_it_lives)) || return 0
  told_that_it_lives=1
  report booting "" 3
}

# Polls about four times a second. At its end, by its hold or by EC2, it looks once more, because the ledger may have given
# it a job. A mailbox without a job is one that the dispatcher closed.
await_job() {
  local told='' watched=-1000 ending=''
  while :; do
    tick
    if ((now - ${BORN:-0} >= hold)); then
      ending="no job within $hold s"
    elif ((now - watched >= ${SPOT_POLL_SECONDS:-5})); then
      watched=$now
      ! imds meta-data/spot/instance-action || ending="spot notice: $answer"
    fi
    if look "$([[ -n $ending ]] && echo true || echo false)"; then
      if [[ $answer == *'"job_id"'* ]]; then
        [[ $ending != spot* ]] || fail "EC2 takes the VM back ($ending)" # the job goes to another one at once
        return 0
      fi
      [[ $answer != *'"Item"'* ]] || ending=${ending:-closed: this VM is not needed any more}
    elif [[ $error != "$told" ]]; then
      told=$error
      say "mailbox cannot be read: $error"
    fi
    if [[ -n $ending ]]; then
      say "$ending"
      exit 0
    fi
    sleep 0.2
  done
}
