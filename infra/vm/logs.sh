# shellcheck shell=bash
# Logs of the boot program and of the agent, and the boot's part of the system's journal, to CloudWatch when LOG_GROUP
# names a group. Never a reason to fail.

JOURNAL=$STATE/journal.log
LINES_A_REQUEST=200 # of at most 1,000 characters: well under the API's megabyte
SHIP_SECONDS=2      # while the agent runs, and after it when EC2 takes the VM

# What is new in the logs since last time, within $1 seconds and one more, whatever the service does.
ship_logs() {
  [[ -n ${LOG_GROUP:-} && -n ${instance_id:-} && -d $STATE ]] || return 0
  local until
  tick
  until=$((now + $1))
  if [[ -z ${sent[stream]:-} ]]; then
    logs CreateLogStream "" || [[ $error == ResourceAlreadyExistsException ]] || return 0
    sent[stream]=1
  fi
  ship_file "$BOOT_LOG"
  ship_file "$JOURNAL"
  ship_file "$LOG"
}

# What happened before this program and beside it, once: when the agent has started, or at the end of a boot that failed.
keep_journal() {
  [[ -n ${LOG_GROUP:-} && -d $STATE && ! -e $JOURNAL ]] || return 0
  timeout 10 journalctl --boot --no-pager --quiet --output=short-iso --lines=500 </dev/null >"$JOURNAL" 2>/dev/null || true
}

ship_file() {
  local from=${sent[$1]:-0} lines text events now_ms line
  [[ -s $1 ]] || return 0
  while :; do
    mapfile -t lines < <(tail -n "+$((from + 1))" "$1" | head -n "$LINES_A_REQUEST")
    ((${#lines[@]})) || return 0
    now_ms=$(date +%s%3N) events=
    for line in "${lines[@]}"; do
      text=${line//[^[:print:]]/ }
      [[ -z ${credential:-} ]] || text=${text//"$credential"/***} # before the crop, which would leave a part of it
      text=${text:0:1000}
      text=${text//\\/\\\\} text=${text//\"/\\\"}
      events+="${events:+,}{\"timestamp\":$now_ms,\"message\":\"${text:- }\"}"
    done
    logs PutLogEvents ",\"logEvents\":[$events]" || return 0
    from=$((from + ${#lines[@]})) sent[$1]=$from
  done
}

logs() {
  tick
  ((now < until)) || return 1
  aws logs "Logs_20140328.$1" "{\"logGroupName\":\"$LOG_GROUP\",\"logStreamName\":\"$instance_id\"$2}" $((until - now)) ||
    { [[ $error == ResourceAlreadyExistsException ]] || printf 'agent-stack: logs not shipped: %s\n' "$error" && false; }
}
