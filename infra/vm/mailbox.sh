# shellcheck shell=bash
# The mailbox: one item, this VM's own. Who this VM is, what it is to do, and how it says how far it is.

# A call about item $4, or else this VM's own.
dynamodb() {
  aws dynamodb "DynamoDB_20120810.$1" \
    "{\"TableName\":\"$MAILBOX_TABLE\",\"Key\":{\"instance_arn\":{\"S\":\"${4:-$arn}\"}},$2}" "$3"
}

# UpdateItem: attribute that must exist, returned values, expression, stage, further values, seconds to try.
update() {
  tick
  dynamodb UpdateItem "\"ConditionExpression\":\"attribute_exists($1)\",\"ReturnValues\":\"$2\",\
\"UpdateExpression\":\"$3\",\"ExpressionAttributeValues\":{\":stage\":{\"S\":\"$4\"},\
\":seconds\":{\"N\":\"$uptime\"}$5}" "$6"
}

# Stage $1 with detail $2, tried for $3 seconds. Never fails: the job does not depend on a report.
report() {
  local detail=${2//[^[:print:]]/ }
  ((bound)) || return 0
  detail=${detail//\\//} detail=${detail//\"/\'}
  update instance_arn NONE "SET stage = :stage, stage_seconds = :seconds, detail = :detail" "$1" \
    ",\":detail\":{\"S\":\"${detail:0:1000}\"}" "$3" || say "stage $1 not reported: $error"
}

# What the metadata service says at $1; with $2, fails where there is nothing.
metadata() {
  until imds "$1"; do
    [[ $status != 404 || $# == 1 ]] || return 1
    tick
    ((now < unassigned_until)) || fail "instance metadata: $1: $status $trouble"
    sleep 1
  done
}

# Who this VM is. Without identity it cannot be assigned: the same time-out bounds both.
identify() {
  local domain
  tick
  unassigned_until=$((now + UNASSIGNED_TIMEOUT_SECONDS))
  metadata dynamic/instance-identity/document && document=$answer
  metadata meta-data/services/domain && domain=$answer
  metadata meta-data/services/partition && arn=arn:$answer:ec2
  json "$document" region && arn+=:$field
  json "$document" accountId && arn+=:$field
  json "$document" instanceId && instance_id=$field arn+=:instance/$field
  local service prefix url
  for service in dynamodb ssm logs ecr s3; do
    url=AWS_ENDPOINT_URL_${service^^} prefix=${service/#ecr/api.ecr}
    endpoint[$service]=${!url:-https://$prefix.$DEPLOYMENT_REGION.$domain}
  done
  say "booting $arn"
}

# Reads the mailbox, as it is now or ($1: false) as it was a moment ago, which costs half. Fails with error.
look() {
  dynamodb GetItem '"ConsistentRead":'"$1"',"ProjectionExpression":"job_id, queue_key, endpoint, agent_tags, agent_name, credential_kind"' 0
}

# A preparation that fails is told where there is a job, and only there.
find_job() { ! look true || [[ $answer != *'"job_id"'* ]] || bound=1; }

# Polls each second and writes nothing: an unbound VM has no item, or a closed one without a job. The credential is never
# read, only taken.
await_mailbox() {
  local reported=
  while tick && ((now < unassigned_until)); do
    [[ -f $RUN/program.sh ]] || ((now % 5)) || find_program || true
    if look true; then
      [[ $answer != *'"job_id"'* ]] || return 0
    elif [[ $error != "$reported" ]]; then
      reported=$error
      say "mailbox cannot be read: $error"
    fi
    sleep 1
  done
  say "no job within $UNASSIGNED_TIMEOUT_SECONDS s"
  exit 0
}

read_mailbox() {
  local name wanted id='^[!-~]*$' characters='^[A-Za-z0-9._:/=,@*+-]*$' url='^(https?://[]!"$-&(->A-\[^-~]+)?$'
  bound=1
  for name in job_id queue_key endpoint agent_tags agent_name credential_kind; do
    json "$answer" "$name" || true
    case $name in
      endpoint) wanted=$url ;;
      job_id) wanted=$id ;;
      *) wanted=$characters ;;
    esac
    [[ $field =~ $wanted ]] ||
      fail "mailbox: $name is malformed"
    mail[$name]=$field
  done
  for name in job_id endpoint credential_kind; do
    [[ -n ${mail[$name]} ]] || fail "mailbox: $name is missing"
  done
  [[ ${mail[credential_kind]} =~ ^(job|agent)-token$ ]] || fail "mailbox: credential_kind is unknown"
  say "job ${mail[job_id]}"
}
