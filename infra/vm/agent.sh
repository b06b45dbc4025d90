# shellcheck shell=bash
# The agent: one process under its own user, configured by environment only, watched until it ends.

# By environment only: flags differ between agent versions. The credential in a file, for a process shows its first
# environment for as long as it lives; our hook removes the file before the job's first command.
write_environment() {
  local use tags=${mail[queue_key]:+queue=${mail[queue_key]}}
  tags+=${mail[agent_tags]:+${tags:+,}${mail[agent_tags]}}
  printf '%s' "$credential" | install -m 0600 -o "$AGENT_USER" -g "$AGENT_USER" /dev/stdin "$PRIVATE/token"
  cat >"$ENVIRONMENT" <<TEXT
BUILDKITE_AGENT_TOKEN=file://$PRIVATE/token
BUILDKITE_AGENT_ACQUIRE_JOB=${mail[job_id]}
BUILDKITE_AGENT_ENDPOINT=${mail[endpoint]}
BUILDKITE_AGENT_NAME=${mail[agent_name]:-${arn##*/}}
BUILDKITE_AGENT_TAGS=$tags
BUILDKITE_AGENT_SPAWN=1
BUILDKITE_BUILD_PATH=$STATE/builds
BUILDKITE_HOOKS_PATH=$HOOKS
BUILDKITE_PLUGINS_PATH=$STATE/plugins
AGENT_STACK_PRIVATE=$PRIVATE
AGENT_STACK_ARTIFACT_BUCKET=${ARTIFACT_BUCKET:-}
TEXT
  for use in SIGNING VERIFICATION; do
    [[ ! -f $PRIVATE/${use,,}-key.json ]] ||
      printf 'BUILDKITE_AGENT_%s_JWKS_FILE=%s\n' "$use" "$PRIVATE/${use,,}-key.json" >>"$ENVIRONMENT"
  done
  [[ -z ${AGENT_ENVIRONMENT:-} ]] || printf '%s\n' "${AGENT_ENVIRONMENT//,/$'\n'}" >>"$ENVIRONMENT"
}

# Ordered after the boot unit: at shutdown the agent stops first, and its end is still reported.
start_agent() {
  local isolated=()
  if [[ ${JOB_METADATA:-blocked} == blocked ]]; then
    isolated=(-p IPAddressDeny=169.254.169.254 -p IPAddressDeny=fd00:ec2::254)
  fi
  write_environment
  systemd-run -q -u "$AGENT_UNIT" --wait --collect -p Type=exec -p User="$AGENT_USER" \
    -p EnvironmentFile="$ENVIRONMENT" -p KillMode=mixed -p KillSignal=SIGQUIT -p TimeoutStopSec=90 -p OOMPolicy=continue \
    -p After="network-online.target $BOOT_UNIT.service" \
    -p StandardOutput=append:"$LOG" -p StandardError=append:"$LOG" "${isolated[@]}" "$agent" start &
  waiter=$!
  # Active means executed (Type=exec), and the file read.
  until systemctl is-active --quiet "$AGENT_UNIT" || ! kill -0 "$waiter" 2>/dev/null; do sleep 0.1; done
  rm -f "$ENVIRONMENT"
  systemctl is-active --quiet "$AGENT_UNIT" || return 0 # ended already, or never began: report_exit tells which
  ran=1
  say "agent started"
  report agent_started "" 3
}

# Only the agent: it ends the job's processes in its own way and finishes the job.
stop_agent() { systemctl kill --kill-who=main --signal=SIGQUIT "$AGENT_UNIT" || true; }

watch_agent() {
  local noticed=0 shipped=0
  while kill -0 "$waiter" 2>/dev/null; do
    sleep "${SPOT_POLL_SECONDS:-5}" &
    wait -n "$waiter" $! || true # returns at once when the agent ends or a signal arrives
    if ((!noticed)) && imds meta-data/spot/instance-action; then
      noticed=1
      say "spot notice: $answer"
      report spot_notice "$answer" 3
      stop_agent
    fi
    tick
    if ((now - shipped >= 10)); then
      shipped=$now
      ship_logs 0
    fi
  done
}

# The exit code, and after a failure the agent's last words without the credential.
report_exit() {
  local code=0 tail=
  wait "$waiter" || code=$?
  trap '' HUP INT TERM
  if ((code && !ran)) && [[ ! -s $LOG ]]; then
    waiter='' # it never ran
    fail "agent cannot be started: code $code"
  fi
  if ((code)); then
    tail=$(tail -n 20 "$LOG")
    tail=${tail//"$credential"/***}
    ((${#tail} <= 900)) || tail=${tail: -900}
  fi
  say "agent exited with code $code ${tail//[^[:print:]]/ }"
  report agent_exited "$code $tail" 20
}
