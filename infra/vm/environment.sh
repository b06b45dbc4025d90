# shellcheck shell=bash
# What the agent is given, by environment only: its flags differ between versions, and so do some variables' names. Where
# they do, both versions' names are set.

declare -gA given=() # by name; what comes later wins
CLEANUP_SECONDS=20 # for the agent, past the job's grace: the rest of the log, and the job's end

# All but the token's file, which the credential fills. Fails before the credential is taken.
write_environment() {
  local name settings
  set_grace
  given[BUILDKITE_AGENT_TOKEN]=file://$PRIVATE/token
  given[BUILDKITE_AGENT_ACQUIRE_JOB]=${mail[job_id]}
  given[BUILDKITE_AGENT_ENDPOINT]=${mail[endpoint]}
  given[BUILDKITE_AGENT_NAME]=${mail[agent_name]:-${arn##*/}}
  given[BUILDKITE_AGENT_SPAWN]=1
  given[BUILDKITE_BUILD_PATH]=$STATE/builds
  given[BUILDKITE_HOOKS_PATH]=$HOOKS
  given[BUILDKITE_PLUGINS_PATH]=$STATE/plugins
  given[AGENT_STACK_PRIVATE]=$PRIVATE
  given[BUILDKITE_NO_SSH_KEYSCAN]=true # it would take any key of a listed host, too
  set_if_given SSH_AUTH_SOCK "${git_ssh_socket:-}"
  given[AGENT_STACK_ARTIFACT_BUCKET]=${ARTIFACT_BUCKET:-}
  [[ -z ${JOB_AWS//|/} ]] || given[AGENT_STACK_JOB_AWS]=$JOB_AWS
  if ((mirrors_there)); then
    # Without an update of its own: the checkout fetches what a mirror lacks, and a repository without one is cloned as
    # ever instead of twice.
    given[BUILDKITE_GIT_MIRRORS_PATH]=$MIRRORS given[BUILDKITE_GIT_MIRRORS_SKIP_UPDATE]=true
  fi
  given[AWS_REGION]=$DEPLOYMENT_REGION
  given[AWS_DEFAULT_REGION]=$DEPLOYMENT_REGION
  # An image's own file may name a queue beside our tags, which is fatal, or ask the metadata service, which is closed.
  [[ ${AGENT_CONFIG_FILE:-ignored} == image ]] || given[BUILDKITE_AGENT_CONFIG]=/dev/null
  for name in SIGNING VERIFICATION; do
    [[ ! -f $PRIVATE/${name,,}-key.json ]] || given[BUILDKITE_AGENT_${name}_JWKS_FILE]=$PRIVATE/${name,,}-key.json
  done
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [[ -z ${PROXY:-} ]] || given[$name]=${!name}
  done
  set_if_given BUILDKITE_AGENT_EXPERIMENT "${AGENT_EXPERIMENTS:-}"
  set_if_given BUILDKITE_ALLOWED_REPOSITORIES "${ALLOWED_REPOSITORIES:-}"
  set_if_given BUILDKITE_ALLOWED_PLUGINS "${ALLOWED_PLUGINS:-}"
  [[ ${AGENT_TRACING:-none} == none ]] || given[BUILDKITE_TRACING_BACKEND]=$AGENT_TRACING
  settings=$(printf '%s' "${AGENT_ENVIRONMENT:-}" | base64 -d && printf .) || fail "AGENT_ENVIRONMENT is not base64"
  take_settings "$settings" "parameter AgentEnvironment"
  if [[ -f $STATE/agent-settings ]]; then # by the bootstrap script; always one a line
    settings=$(cat "$STATE/agent-settings" && printf '\n.') || fail "the settings of the bootstrap script cannot be read"
    take_settings "$settings" "bootstrap script's settings"
  fi
  both_names
  given[BUILDKITE_AGENT_TAGS]=$(agent_tags)
  redact
  for name in "${!given[@]}"; do
    quoted "${given[$name]}"
    printf '%s="%s"\n' "$name" "$field"
  done >"$ENVIRONMENT"
}

set_if_given() { [[ -z $2 ]] || given[$1]=$2; }

# How long a cancelled job gets, and the agent after it. Of a spot notice's two minutes some seconds are gone before we
# know; and the tracker ends the VM of a cancelled job CancelGraceSeconds after the cancellation.
set_grace() {
  local most=$((${CANCEL_GRACE_SECONDS:-120} - 5)) cleanup=$CLEANUP_SECONDS
  job_grace=${JOB_GRACE_SECONDS:-60}
  if ((job_grace + cleanup > most)); then # a tracker that waits less has the last word
    cleanup=$((most / 4 > 0 ? most / 4 : 1))
    job_grace=$((most - cleanup > 0 ? most - cleanup : 1))
  fi
  grace=$((job_grace + cleanup))
  given[BUILDKITE_CANCEL_GRACE_PERIOD]=$grace # version 3
  given[BUILDKITE_SIGNAL_GRACE_PERIOD_SECONDS]=$job_grace
  given[BUILDKITE_CANCEL_SIGNAL_TIMEOUT]=${job_grace}s # version 4
  given[BUILDKITE_CANCEL_CLEANUP_TIMEOUT]=${cleanup}s
}

# Settings NAME=value, with a full stop at their end: one a line, or, where there is but one line, separated by commas,
# of which one that no NAME= follows is part of the value. $2 is what they are called.
take_settings() {
  local line part name='' setting='^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)=(.*)$' text number=0 parts
  text=${1%.}
  text=${text//$'\r\n'/$'\n'}
  while IFS= read -r line; do
    number=$((number + 1)) name=''
    [[ -n $line ]] || continue
    parts=("$line")
    [[ $text == *$'\n'* ]] || mapfile -t -d , parts < <(printf '%s,' "$line")
    for part in "${parts[@]}"; do
      if [[ $part =~ $setting ]]; then
        name=${BASH_REMATCH[1]}
        given[$name]=${BASH_REMATCH[2]}
      elif [[ -n $name ]]; then
        given[$name]+=,$part
      else
        fail "$2, line $number is not NAME=value"
      fi
    done
  done <<<"$text"
}

# Where the versions of the agent have different names for one thing, one of them will do.
both_names() {
  [[ ${given[BUILDKITE_TRACING_BACKEND]:-} != opentelemetry ]] || given[BUILDKITE_OPENTELEMETRY_TRACING]=true
  [[ ${given[BUILDKITE_OPENTELEMETRY_TRACING]:-} != true ]] || given[BUILDKITE_TRACING_BACKEND]=opentelemetry
  same_as BUILDKITE_TRACING_SERVICE_NAME BUILDKITE_TELEMETRY_SERVICE_NAME
  same_as BUILDKITE_DISABLE_GIT_SUBMODULES BUILDKITE_NO_GIT_SUBMODULES
}

same_as() {
  [[ -v given[$1] || ! -v given[$2] ]] || given[$1]=${given[$2]}
  [[ ! -v given[$1] || -v given[$2] ]] || given[$2]=${given[$1]}
}

# The job's queue, what the stack offers, where the VM is, and the operator's own: none replaces another.
agent_tags() {
  local tags=${mail[queue_key]:+queue=${mail[queue_key]},}${mail[agent_tags]:+${mail[agent_tags]},} fact
  for fact in "${facts[@]}"; do
    tags+=$fact,
  done
  tags+=${given[BUILDKITE_AGENT_TAGS]:-}
  printf '%s' "${tags%,}"
}

# Names that the agent hides the values of: its own, the operator's, and those of JobEnvironmentParameter beside them.
redact() {
  local own='*_PASSWORD,*_SECRET,*_TOKEN,*_PRIVATE_KEY,*_SSH_KEY,*_ACCESS_KEY,*_SECRET_KEY,*_CONNECTION_STRING,*_API_KEY'
  local name redacted=${REDACTED_VARIABLES:+,$REDACTED_VARIABLES}
  for name in "${job_variables[@]}"; do
    redacted+=,$name
  done
  [[ -z $redacted ]] || given[BUILDKITE_REDACTED_VARS]=${given[BUILDKITE_REDACTED_VARS]:-$own}$redacted
}

# Fills field with $1 as it stands between double quotes in a file that systemd reads.
quoted() {
  field=${1//\\/\\\\}
  field=${field//\"/\\\"}
  field=${field//\$/\\\$}
  field=${field//\`/\\\`}
}
