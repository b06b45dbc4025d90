# shellcheck shell=bash
# The agent: one process under its own user, watched until it ends.

DETAIL_BYTES=265 # of what the tracker reads of a report, the code and the mark of a spot notice apart
REPORT_SECONDS=20
SPOT_REPORT_SECONDS=3 # of a spot notice's two minutes the agent has the rest
noticed=0             # 1: EC2 announced to take the VM back
stop_missed=0         # 1: a signal came when there was no agent to stop yet

# The credential through a FIFO that the agent reads once: a process shows its first environment for as long as it lives,
# and a file would have to be removed by something that the job's environment can keep from it. Only the agent's user
# gets into the directory, and no job runs yet.
give_credential() {
  mkfifo -m 0644 "$PRIVATE/token" || fail "the credential cannot be given to the agent"
  # No child of this shell's: where a signal meets the agent's end, bash's `wait -n` goes on to wait for any child.
  ({
    printf '%s' "$credential" | timeout 60 tee "$PRIVATE/token" >/dev/null 2>&1 || true
    rm -f "$PRIVATE/token"
  } &)
}

# Ordered after the boot unit: at shutdown the agent stops first, and its end is still reported.
start_agent() {
  local isolated=()
  if [[ ${JOB_METADATA:-blocked} == blocked ]]; then
    isolated=(-p IPAddressDeny=169.254.169.254 -p IPAddressDeny=fd00:ec2::254)
  fi
  give_credential
  systemd-run -q -u "$AGENT_UNIT" --wait --collect -p Type=exec -p User="$AGENT_USER" \
    -p EnvironmentFile="$ENVIRONMENT" -p KillMode=mixed -p KillSignal=SIGQUIT -p TimeoutStopSec=$((grace + 15)) \
    -p OOMPolicy=continue -p OOMScoreAdjust=-900 -p LimitCORE=0 -p After="network-online.target $BOOT_UNIT.service" \
    -p StandardOutput=append:"$LOG" -p StandardError=append:"$LOG" "${isolated[@]}" "$agent" start &
  waiter=$!
  # Active means executed (Type=exec), and the file read.
  until systemctl is-active --quiet "$AGENT_UNIT" || ! kill -0 "$waiter" 2>/dev/null; do sleep 0.1; done
  rm -f "$ENVIRONMENT"
  systemctl is-active --quiet "$AGENT_UNIT" || return 0 # ended already, or never began: report_exit tells which
  ran=1
  ((!stop_missed)) || stop_agent
  say "agent started"
  report agent_started "$mirrors_said" 3
  keep_journal
}

# Only the agent: it ends the job's processes in its own way and finishes the job.
stop_agent() { systemctl kill --kill-who=main --signal=SIGQUIT "$AGENT_UNIT" || stop_missed=1; }

watch_agent() {
  local shipped=0
  while kill -0 "$waiter" 2>/dev/null; do
    sleep "${SPOT_POLL_SECONDS:-2}" &
    wait -n "$waiter" $! || true # returns at once when the agent ends or a signal arrives
    if ((!noticed)) && imds meta-data/spot/instance-action; then
      noticed=1
      say "spot notice: $answer"
      # For our pre-exit hook, which tells the job's log. Not in the private directory: the job's user owns that, and may
      # have made this name a link.
      install -m 0644 /dev/stdin "$RUN/spot-notice" <<<"$answer" || true
      stop_agent # before anything that takes time: the job has what is left
      REPORT_SECONDS=$SPOT_REPORT_SECONDS last_ship_seconds=$SHIP_SECONDS
      report spot_notice "$answer" 3
    fi
    tick
    if ((!noticed && now - shipped >= 10)); then
      shipped=$now
      ship_logs "$SHIP_SECONDS"
    fi
  done
}

# The exit code, and the agent's failure report, whatever the code: an agent that was refused its job may end with 0.
report_exit() {
  local code=0 said mark=
  ((!noticed)) || mark='(spot notice) ' # the tracker counts by it
  wait "$waiter" || code=$?
  trap '' HUP INT TERM
  if ((code && !ran)) && [[ ! -s $LOG ]]; then
    waiter='' # it never ran
    fail "agent cannot be started: code $code"
  fi
  said=$(failure_report)
  say "agent exited with code $code $said"
  report agent_exited "$code $mark$said" "$REPORT_SECONDS"
}

# The end of the agent's log without the credential, its banner, colours and times. What went well gives way to what
# went wrong, and the beginning to the end.
failure_report() {
  local said wrong banner='^ *https?:\/\/buildkite\.com\/agent[ |_/]*$'
  said=$(tail -n 40 "$LOG" 2>/dev/null | sed -E -e $'s/\e\\[[0-9;]*[A-Za-z]//g' -e 's/\r$//' \
    -e 's/^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8} +//' -e '/^ *$/d' -e '/^INFO +Disconnect/d')
  ! grep -Eq "$banner" <<<"$said" || said=$(sed -E "1,/$banner/d" <<<"$said")
  wrong=$(grep -Ev '^(DEBUG|INFO|NOTICE) ' <<<"$said") || wrong=$said
  said=${wrong//"$credential"/***}
  said=${said//[^[:print:]]/ }
  ((${#said} <= DETAIL_BYTES)) || said=...${said: -DETAIL_BYTES}
  printf '%s' "$said"
}
