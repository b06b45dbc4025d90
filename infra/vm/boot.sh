#!/usr/bin/env bash
# One VM's boot program: finds its job in the mailbox, takes the credential, runs one agent, powers off.
# User data is a generated header of assignments (MAILBOX_TABLE, …) and this file. cloud-init runs it bare:
# it arms the timer and hands itself to systemd, which runs it again with "run".
set -euo pipefail
umask 077
export LC_ALL=C

BOOT_UNIT='agent-stack-boot'
AGENT_UNIT='agent-stack-agent' # not the packaged unit's name: systemd refuses a transient one that has a file
AGENT_USER='buildkite-agent'
IMDS=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
RUN=${RUNTIME_DIRECTORY:-/run/agent-stack} # systemd sets these from the unit's properties
STATE=${STATE_DIRECTORY:-/var/lib/agent-stack}
HOOKS=${CONFIGURATION_DIRECTORY:-/etc/buildkite-agent}/hooks
ENVIRONMENT=$RUN/agent.env
LOG=$STATE/agent.log

bound=0   # 1: the mailbox holds a job, reports may be written
waiter='' # the process that waits for the agent; until then a failure is this program's to tell
reason='' imds_token='' keys_at=-1000 clock_set=0
declare -A mail endpoint version=([dynamodb]=1.0 [ssm]=1.1)

# --- Ends: every path leads to power-off ---

say() { printf 'agent-stack: %s\n' "$*"; }

fail() {
  reason=$1
  exit 1
}

# The one way out. A failure before the agent ran is told, so that the job can be handed back.
on_exit() {
  local code=$?
  trap '' HUP INT TERM
  set +e
  rm -f "$ENVIRONMENT"
  if ((code)); then
    say "failed: ${reason:=boot program ended unexpectedly with code $code}"
    [[ -n $waiter ]] || report failed "$reason" 10
  fi
  say "powering off"
  systemctl poweroff || systemctl poweroff --force
}

# A signal stops the agent, whose end is still reported; without an agent it ends the program.
on_signal() {
  say "received SIG$1"
  [[ -n $waiter ]] || fail "stopped by SIG$1"
  stop_agent
}

check_header() {
  local name
  for name in MAILBOX_TABLE DEPLOYMENT_REGION UNASSIGNED_TIMEOUT_SECONDS MAX_LIFETIME_SECONDS AGENT_VERSION \
    AGENT_DOWNLOAD_URL; do
    local -n value=$name
    [[ -n ${value:-} ]] || fail "user data does not set $name"
    [[ $name != *_SECONDS || $value =~ ^[1-9][0-9]*$ ]] || fail "$name is not a number of seconds"
  done
}

# First of all, before anything can hang.
arm_lifetime() {
  systemd-run -q -u agent-stack-lifetime --on-active="${MAX_LIFETIME_SECONDS}s" --timer-property=AccuracySec=1s \
    systemctl poweroff || fail "lifetime timer cannot be armed"
}

# A unit whose end powers off: systemd sees to it even when this program is killed.
start_unit() {
  systemd-run -q -u "$BOOT_UNIT" -p SuccessAction=poweroff -p FailureAction=poweroff -p KillMode=mixed \
    -p TimeoutStopSec=120 -p After=network-online.target -p RuntimeDirectory=agent-stack \
    -p StateDirectory=agent-stack -p StandardOutput=journal+console -p StandardError=journal+console \
    /bin/bash "$(readlink -f "$0")" run || fail "boot unit cannot be started"
}

# --- Requests: secrets reach curl by a config on its input, never by arguments ---

# Seconds since boot, which nobody can set: uptime with its fraction, now without.
tick() {
  read -r uptime _ </proc/uptime
  now=${uptime%.*}
}

# Sends the curl config on standard input; fills answer, status (000: none), served_at (its Date), trouble.
request() {
  local output
  output=$(curl -q --silent --connect-timeout 2 --max-time 10 --config - \
    --write-out '\n%{http_code}|%header{date}|%{errormsg}') || true
  answer=${output%$'\n'*}
  IFS='|' read -r status served_at trouble <<<"${output##*$'\n'}"
}

# Fills field with string member $2 of JSON $1, looking through DynamoDB's {"S": …}; fails if there is none.
json() {
  local s='[[:space:]]*'
  local pattern="\"$2\"$s:$s(\\{$s\"S\"$s:$s)?\"([^\"]*)\""
  field=
  [[ $1 =~ $pattern ]] && field=${BASH_REMATCH[2]}
}

# IMDSv2: fills answer with what stands at $1; fails on anything but 200.
imds() {
  local try
  for try in 1 2; do
    if [[ -z $imds_token ]]; then
      request <<<"url = \"$IMDS/latest/api/token\"
request = PUT
header = \"X-aws-ec2-metadata-token-ttl-seconds: 21600\""
      [[ $status == 200 ]] || return 1
      imds_token=$answer
    fi
    request <<<"url = \"$IMDS/latest/$1\"
header = \"X-aws-ec2-metadata-token: $imds_token\""
    [[ $status == 401 && $try == 1 ]] || break
    imds_token='' # its six hours are over
  done
  [[ $status == 200 ]]
}

# The role's keys. New ones stand there five minutes before the old ones end: four-minute-old ones always work.
refresh_keys() {
  tick
  ((now - keys_at > 240)) || return 0
  imds meta-data/iam/security-credentials/ && imds "meta-data/iam/security-credentials/${answer%%$'\n'*}" &&
    json "$answer" AccessKeyId && key=$field && json "$answer" SecretAccessKey && secret=$field &&
    json "$answer" Token && session=$field && keys_at=$now
}

# Signed call: service, target, body, seconds to go on trying. Fills answer; fails with error.
aws() {
  local body=${3//\\/\\\\} until pause=0
  body=${body//\"/\\\"}
  tick
  until=$((now + $4))
  while :; do
    if refresh_keys; then
      request <<CONFIG
url = "${endpoint[$1]}/"
aws-sigv4 = "aws:amz:$DEPLOYMENT_REGION:$1"
user = "$key:$secret"
header = "X-Amz-Security-Token: $session"
header = "X-Amz-Target: $2"
header = "Content-Type: application/x-amz-json-${version[$1]}"
data = "$body"
CONFIG
      [[ $status != 200 ]] || return 0
      error="$status $trouble"
      json "$answer" __type && error=${field##*#}
    else
      status='' error="no role keys from instance metadata: $status $trouble"
    fi
    case "$status $error $answer" in
      *"Signature expired"* | *"not yet current"* | *RequestTimeTooSkewed*)
        if ((clock_set)) || [[ -z $served_at ]] || ! date --set="$served_at" >/dev/null; then
          say "clock: still refused as skewed, server says $served_at"
          return 1
        fi
        clock_set=1
        say "clock set to $served_at"
        continue
        ;;
      *ExpiredToken* | *UnrecognizedClient*) keys_at=-1000 ;;
      ' '* | [50]* | 429* | *Throttl* | *LimitExceeded* | *ThroughputExceeded*) ;;
      *) return 1 ;;
    esac
    tick
    ((now < until)) || return 1
    sleep "$pause.$((RANDOM % 10))"
    pause=$((pause < 3 ? pause * 2 + 1 : 3))
  done
}

# --- Mailbox: one item, this VM's own ---

dynamodb() { aws dynamodb "DynamoDB_20120810.$1" "{\"TableName\":\"$MAILBOX_TABLE\",\"Key\":{\"instance_arn\":{\"S\":\"$arn\"}},$2}" "$3"; }

# UpdateItem: attribute that must exist, returned values, expression, stage, further values, seconds to try.
update() {
  tick
  dynamodb UpdateItem "\"ConditionExpression\":\"attribute_exists($1)\",\"ReturnValues\":\"$2\",\
\"UpdateExpression\":\"$3\",\"ExpressionAttributeValues\":{\":stage\":{\"S\":\"$4\"},\
\":seconds\":{\"N\":\"$uptime\"}$5}" "$6"
}

# Stage $1 with detail $2, tried for $3 seconds. Never fails: a report is news, not a step of the job.
report() {
  local detail=${2//[^[:print:]]/ }
  ((bound)) || return 0
  detail=${detail//\\//} detail=${detail//\"/\'}
  update instance_arn NONE "SET stage = :stage, stage_seconds = :seconds, detail = :detail" "$1" \
    ",\":detail\":{\"S\":\"${detail:0:1000}\"}" "$3" || say "stage $1 not reported: $error"
}

metadata() {
  until imds "$1"; do
    tick
    ((now < unassigned_until)) || fail "instance metadata: $1: $status $trouble"
    sleep 1
  done
}

# Who this VM is. Without identity it cannot be assigned: the same time-out bounds both.
identify() {
  local document domain
  tick
  unassigned_until=$((now + UNASSIGNED_TIMEOUT_SECONDS))
  metadata dynamic/instance-identity/document && document=$answer
  metadata meta-data/services/domain && domain=$answer
  metadata meta-data/services/partition && arn=arn:$answer:ec2
  json "$document" region && arn+=:$field
  json "$document" accountId && arn+=:$field
  json "$document" instanceId && arn+=:instance/$field
  endpoint[dynamodb]=${AWS_ENDPOINT_URL_DYNAMODB:-https://dynamodb.$DEPLOYMENT_REGION.$domain}
  endpoint[ssm]=${AWS_ENDPOINT_URL_SSM:-https://ssm.$DEPLOYMENT_REGION.$domain}
  say "booting $arn"
}

# Polls each second and writes nothing: an unbound VM has no item. The credential is never read, only taken.
await_mailbox() {
  local told=
  while tick && ((now < unassigned_until)); do
    if dynamodb GetItem '"ConsistentRead":true,"ProjectionExpression":"job_id, queue_key, endpoint, agent_tags, agent_name, credential_kind"' 0; then
      [[ $answer != *'"Item"'* ]] || return 0
    elif [[ $error != "$told" ]]; then
      told=$error
      say "mailbox cannot be read: $error"
    fi
    sleep 1
  done
  say "no job within $UNASSIGNED_TIMEOUT_SECONDS s"
  exit 0
}

read_mailbox() {
  local name letters='^[A-Za-z0-9._:/=,@*+-]*$'
  bound=1
  for name in job_id queue_key endpoint agent_tags agent_name credential_kind; do
    json "$answer" "$name" || true
    [[ $field =~ $letters ]] || fail "mailbox: $name is malformed"
    mail[$name]=$field
  done
  for name in job_id endpoint credential_kind; do
    [[ -n ${mail[$name]} ]] || fail "mailbox: $name is missing"
  done
  say "job ${mail[job_id]}"
}

# The baton: one conditional write removes and returns it. Who comes second owns nothing and leaves quietly.
take_credential() {
  if ! update credential UPDATED_OLD "REMOVE credential SET stage = :stage, stage_seconds = :seconds" \
    credential_taken "" 20; then
    [[ $error == ConditionalCheckFailedException ]] || fail "credential cannot be taken: $error"
    say "credential is already taken"
    exit 0
  fi
  json "$answer" credential && credential=$field
  case ${mail[credential_kind]} in
    job-token) ;;
    agent-token)
      aws ssm AmazonSSM.GetParameter "{\"Name\":\"${AGENT_TOKEN_PARAMETER:-}\",\"WithDecryption\":true}" 20 ||
        fail "agent token cannot be read: $error"
      json "$answer" Value && credential=$field
      ;;
    *) fail "mailbox: credential_kind is unknown" ;;
  esac
  [[ $credential =~ ^[A-Za-z0-9._~+/=-]+$ ]] || fail "credential is malformed"
}

# --- Agent ---

download() {
  curl -q --silent --fail --location --retry 3 --connect-timeout 5 --max-time 120 --output "$2" "$1" ||
    fail "cannot download $1: curl code $?"
}

# The image's own agent, else the pinned release, checked against its published checksum.
ensure_agent() {
  local machine url expected actual
  agent=$(command -v buildkite-agent) && return
  report agent_installing "$AGENT_VERSION" 3
  machine=$(uname -m)
  case $machine in
    x86_64) machine=amd64 ;;
    aarch64) machine=arm64 ;;
    *) fail "no agent for machine type $machine" ;;
  esac
  url=$AGENT_DOWNLOAD_URL/$AGENT_VERSION/buildkite-agent-linux-$machine
  agent=$STATE/bin/buildkite-agent
  install -d -m 0755 "$STATE/bin"
  download "$url" "$agent.new"
  download "$url.sha256" "$agent.sha256"
  read -r expected _ <"$agent.sha256" || true # its last newline may be missing
  actual=$(sha256sum <"$agent.new")
  [[ -n $expected && ${actual%% *} == "$expected" ]] || fail "checksum of $url does not match"
  chmod 0755 "$agent.new"
  mv "$agent.new" "$agent"
}

# By environment only: flags differ between agent versions.
write_environment() {
  local tags=${mail[queue_key]:+queue=${mail[queue_key]}}
  tags+=${mail[agent_tags]:+${tags:+,}${mail[agent_tags]}}
  cat >"$ENVIRONMENT" <<TEXT
BUILDKITE_AGENT_TOKEN=$credential
BUILDKITE_AGENT_ACQUIRE_JOB=${mail[job_id]}
BUILDKITE_AGENT_ENDPOINT=${mail[endpoint]}
BUILDKITE_AGENT_NAME=${mail[agent_name]:-${arn##*/}}
BUILDKITE_AGENT_TAGS=$tags
BUILDKITE_AGENT_SPAWN=1
BUILDKITE_BUILD_PATH=$STATE/builds
BUILDKITE_HOOKS_PATH=$HOOKS
BUILDKITE_PLUGINS_PATH=$STATE/plugins
TEXT
}

# Ordered after the boot unit: at shutdown the agent stops first, and its end is still reported.
start_agent() {
  id "$AGENT_USER" >/dev/null 2>&1 ||
    useradd --system --user-group --create-home --home-dir /var/lib/buildkite-agent --shell /bin/bash "$AGENT_USER"
  install -d -m 0755 -o "$AGENT_USER" -g "$AGENT_USER" "$STATE/builds" "$STATE/plugins"
  write_environment
  systemd-run -q -u "$AGENT_UNIT" --wait --collect -p Type=exec -p User="$AGENT_USER" \
    -p EnvironmentFile="$ENVIRONMENT" -p KillMode=mixed -p KillSignal=SIGQUIT -p TimeoutStopSec=90 \
    -p After="network-online.target $BOOT_UNIT.service" \
    -p StandardOutput=append:"$LOG" -p StandardError=append:"$LOG" "$agent" start &
  waiter=$!
  # Active means executed (Type=exec), and the file read.
  until systemctl is-active --quiet "$AGENT_UNIT" || ! kill -0 "$waiter" 2>/dev/null; do sleep 0.1; done
  rm -f "$ENVIRONMENT"
  systemctl is-active --quiet "$AGENT_UNIT" || return 0 # ended already, or never began: report_exit tells which
  say "agent started"
  report agent_started "" 3
}

# Only the agent: it ends the job's processes in its own way and finishes the job.
stop_agent() { systemctl kill --kill-who=main --signal=SIGQUIT "$AGENT_UNIT" || true; }

watch_agent() {
  local noticed=0
  while kill -0 "$waiter" 2>/dev/null; do
    sleep "${SPOT_POLL_SECONDS:-5}" &
    wait -n "$waiter" $! || true # returns at once when the agent ends or a signal arrives
    if ((!noticed)) && imds meta-data/spot/instance-action; then
      noticed=1
      say "spot notice: $answer"
      report spot_notice "$answer" 3
      stop_agent
    fi
  done
}

# The exit code, and after a failure the agent's last words without the credential.
report_exit() {
  local code=0 tail=
  wait "$waiter" || code=$?
  trap '' HUP INT TERM
  if ((code)) && [[ ! -s $LOG ]]; then
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

main() {
  trap on_exit EXIT
  trap 'on_signal HUP' HUP
  trap 'on_signal INT' INT
  trap 'on_signal TERM' TERM
  check_header
  if [[ ${1:-} != run ]]; then
    arm_lifetime
    start_unit
    trap - EXIT
    return
  fi
  identify
  await_mailbox
  read_mailbox
  report booting "" 3
  take_credential
  ensure_agent
  start_agent
  watch_agent
  report_exit
}

main "$@"
