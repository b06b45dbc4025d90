# shellcheck shell=bash
# Requests to the metadata service and to AWS. Secrets reach curl by a config on its input, never by arguments.

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
  local pattern="\"$2\"$s:$s(\\{$s\"S\"$s:$s)?\"(([^\"\\]|\\\\.)*)\""
  field=
  [[ $1 =~ $pattern ]] || return 1
  field=${BASH_REMATCH[2]//'\/'/\/}
  field=${field//'\"'/\"}
  [[ $field != *\\* ]] || LC_ALL=C.UTF-8 printf -v field '%b' "$field" # what is left of JSON's escapes printf knows, too
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

check_curl() {
  local name number rest
  read -r name number rest < <(curl --version) || fail "$name $rest cannot be run"
  IFS=. read -r name number rest <<<"$number"
  ((name > 7 || name == 7 && number >= 75)) || curl_signs=0
}

# Fills signature with curl options that sign a request: service $1, target $2, body $3, URL $4. Curl before 7.75
# cannot sign; it is given the result.
sign() {
  if ((curl_signs)); then
    printf -v signature 'aws-sigv4 = "aws:amz:%s:%s"\nuser = "%s:%s"' "$DEPLOYMENT_REGION" "$1" "$key" "$secret"
    return
  fi
  local stamp day scope names canonical host=${4#*://}
  host=${host%%/*} stamp=$(date -u +%Y%m%dT%H%M%SZ) day=${stamp%T*}
  scope=$day/$DEPLOYMENT_REGION/$1/aws4_request names='host;x-amz-date;x-amz-security-token;x-amz-target'
  canonical=$(printf 'POST\n/\n\nhost:%s\nx-amz-date:%s\nx-amz-security-token:%s\nx-amz-target:%s\n\n%s\n%s' \
    "$host" "$stamp" "$session" "$2" "$names" "$(sha256 <<<"$3")")
  [[ ${signing[$1$day]:-} ]] || signing[$1$day]=$(hmac "$(hmac "$(hmac "$(hmac "$(hex "AWS4$secret")" "$day")" \
    "$DEPLOYMENT_REGION")" "$1")" aws4_request)
  canonical=$(printf 'AWS4-HMAC-SHA256\n%s\n%s\n%s' "$stamp" "$scope" "$(sha256 <<<"$canonical")")
  printf -v signature 'header = "X-Amz-Date: %s"\nheader = "Authorization: %s"' "$stamp" \
    "AWS4-HMAC-SHA256 Credential=$key/$scope, SignedHeaders=$names, Signature=$(hmac "${signing[$1$day]}" "$canonical")"
}

# Of standard input but its last newline.
sha256() {
  local text
  text=$(cat)
  text=$(printf '%s' "$text" | sha256sum)
  printf '%s' "${text%% *}"
}

hex() { printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n'; }

# Of text $2 under hexadecimal key $1.
hmac() { printf '%s' "$2" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$1" | sed 's/.* //'; }

# Object $1 (bucket/key) into file $2. Fails with error.
s3_get() {
  refresh_keys || { error='no role keys from instance metadata' && return 1; }
  status='' trouble='no room for the request'
  request <<CONFIG
url = "${endpoint[s3]}/$1"
aws-sigv4 = "aws:amz:$DEPLOYMENT_REGION:s3"
user = "$key:$secret"
header = "X-Amz-Security-Token: $session"
header = "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD"
max-time = 120
retry = 3
output = "$2"
CONFIG
  error="$status $trouble"
  [[ $status == 200 ]]
}

# Signed call: service, target, body, seconds to go on trying. Fills answer; fails with error.
aws() {
  local body=${3//\\/\\\\} until pause=0
  body=${body//\"/\\\"}
  tick
  until=$((now + $4)) tries=0
  while :; do
    tries=$((tries + 1))
    if refresh_keys; then
      sign "$1" "$2" "$3" "${endpoint[$1]}"
      status='' trouble='no room for the request' # where the shell cannot write it down, request never begins
      request <<CONFIG
url = "${endpoint[$1]}/"
$signature
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
