# shellcheck shell=bash
# Requests to the metadata service and to AWS. Secrets reach curl by a config on its input, never by arguments.

# Seconds since boot, which nobody can set: uptime with its fraction, now without.
tick() {
  read -r uptime _ </proc/uptime
  now=${uptime%.*}
}

# The operator's proxy, for all that this program and the job start. Never for the metadata service: what asked it would
# be the proxy, and not this VM.
use_proxy() {
  [[ -n ${PROXY:-} ]] || return 0
  [[ $PROXY != *@* ]] || fail "parameter HttpProxy holds a user or a password, which every job would read. Set it without"
  export http_proxy=$PROXY https_proxy=$PROXY HTTP_PROXY=$PROXY HTTPS_PROXY=$PROXY
  export no_proxy=169.254.169.254,fd00:ec2::254,localhost,127.0.0.1,::1${NO_PROXY_FOR:+,$NO_PROXY_FOR}
  export NO_PROXY=$no_proxy
}

# Waits after try $1, at most $2 seconds: anything up to 1, 2, 4, 8 or 16 s, so that a thousand VMs that were refused at
# once do not come again at once.
pause() {
  backoff "$@"
  sleep "$delay"
}

backoff() {
  local most=$((1000 << ($1 < 5 ? $1 - 1 : 4)))
  ((most <= ${2:-16} * 1000)) || most=$((${2:-16} * 1000))
  delay=$((RANDOM * most / 32768))
  printf -v delay '%d.%03d' $((delay / 1000)) $((delay % 1000))
}

# Sends the curl config on standard input; fills answer, status (000: none), served_at (its Date), trouble, curl_code.
request() {
  local output
  output=$(curl -q --silent --connect-timeout 2 --max-time 10 --config - \
    --write-out '\n%{http_code}|%header{date}|%{errormsg}') && curl_code=0 || curl_code=$?
  answer=${output%$'\n'*}
  IFS='|' read -r status served_at trouble <<<"${output##*$'\n'}"
}

# Fills field with string member $2 of JSON $1, looking through DynamoDB's {"S": …}; fails if there is none.
json() {
  local s='[[:space:]]*'
  local pattern="\"$2\"$s:$s(\\{$s\"S\"$s:$s)?\"(([^\"\\]|\\\\.)*)\""
  field=
  [[ $1 =~ $pattern ]] || return 1
  unescape "${BASH_REMATCH[2]}"
}

# Fills field with what JSON string $1, without its quotes, stands for. Fails on \u0000, which no variable can hold.
unescape() {
  local left=$1 rest='' code
  field=
  while
    more
    [[ $rest == *\\* || -n $left ]]
  do
    field+=${rest%%\\*}
    [[ $rest == *\\* ]] || {
      rest=
      continue
    }
    rest=${rest#*\\}
    more
    case $rest in
      n*) field+=$'\n' ;;
      r*) field+=$'\r' ;;
      t*) field+=$'\t' ;;
      b*) field+=$'\b' ;;
      f*) field+=$'\f' ;;
      u*)
        code=$((16#${rest:1:4})) rest=${rest:4}
        if ((code >= 0xD800 && code < 0xDC00)) && [[ ${rest:1:2} == '\u' ]]; then # the first half of a character
          code=$((0x10000 + ((code - 0xD800) << 10) + 16#${rest:3:4} - 0xDC00)) rest=${rest:6}
        fi
        ((code)) || return 1
        utf8 "$code"
        ;;
      *) field+=${rest:0:1} ;;
    esac
    rest=${rest:1}
  done
  field+=$rest
}

# Takes rest from left in pieces: bash copies the whole of a text for each character that is taken off it.
more() { ((${#rest} > 15)) || { rest+=${left:0:500} left=${left:500}; }; }

# Appends the character of number $1 to field: printf would need a locale that not every image has.
utf8() {
  local bytes
  if (($1 < 0x80)); then
    printf -v bytes '\\x%02x' "$1"
  elif (($1 < 0x800)); then
    printf -v bytes '\\x%02x' $((0xC0 | $1 >> 6)) $((0x80 | $1 & 63))
  elif (($1 < 0x10000)); then
    printf -v bytes '\\x%02x' $((0xE0 | $1 >> 12)) $((0x80 | $1 >> 6 & 63)) $((0x80 | $1 & 63))
  else
    printf -v bytes '\\x%02x' $((0xF0 | $1 >> 18)) $((0x80 | $1 >> 12 & 63)) $((0x80 | $1 >> 6 & 63)) $((0x80 | $1 & 63))
  fi
  printf -v bytes '%b' "$bytes"
  field+=$bytes
}

IMDS_SECONDS=2 # of one request; a look takes three of them at most

# Fills most with the seconds that one request may take: $1, or what the call that needs it has left. Fails at its end.
within() {
  most=$1
  [[ -n ${deadline:-} ]] || return 0
  tick
  ((now < deadline)) || return 1
  ((most <= deadline - now)) || most=$((deadline - now))
}

# IMDSv2: fills answer with what stands at $1; fails on anything but 200.
imds() {
  local try most
  status='' trouble='no time is left'
  for try in 1 2; do
    if [[ -z $imds_token ]]; then
      try=2 # a new token that is refused gets no better
      within "$IMDS_SECONDS" || return 1
      request <<<"url = \"$IMDS/latest/api/token\"
request = PUT
noproxy = \"*\"
max-time = $most
header = \"X-aws-ec2-metadata-token-ttl-seconds: 21600\""
      [[ $status == 200 ]] || return 1
      imds_token=$answer
    fi
    within "$IMDS_SECONDS" || return 1
    request <<<"url = \"$IMDS/latest/$1\"
noproxy = \"*\"
max-time = $most
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

# Of text $2 under hexadecimal key $1. By hand, because openssl takes a key only among its arguments, where every process
# of the machine reads it.
hmac() {
  local key=$1 inner='' outer='' at byte
  ((${#key} <= 128)) || key=$(octets "$key" | sha256sum) key=${key%% *}
  printf -v key '%-128s' "$key"
  key=${key// /0}
  for ((at = 0; at < 128; at += 2)); do
    byte=$((16#${key:at:2}))
    printf -v inner '%s%02x' "$inner" $((byte ^ 0x36))
    printf -v outer '%s%02x' "$outer" $((byte ^ 0x5c))
  done
  inner=$({ octets "$inner" && printf '%s' "$2"; } | sha256sum)
  outer=$(octets "$outer${inner%% *}" | sha256sum)
  printf '%s' "${outer%% *}"
}

# What hexadecimal $1 stands for.
octets() {
  local at text=''
  for ((at = 0; at < ${#1}; at += 2)); do text+=\\x${1:at:2}; done
  printf '%b' "$text"
}

# Signed call: service, target, body, seconds to go on trying, all requests that it takes included (0: one try). Fills
# answer; fails with error.
aws() {
  local body=${3//\\/\\\\} until deadline='' most
  body=${body//\"/\\\"}
  tick
  until=$((now + $4)) tries=0
  ((!$4)) || deadline=$until
  while :; do
    tries=$((tries + 1))
    if refresh_keys && within 10; then
      sign "$1" "$2" "$3" "${endpoint[$1]}"
      status='' trouble='no room for the request' # where the shell cannot write it down, request never begins
      request <<CONFIG
url = "${endpoint[$1]}/"
$signature
header = "X-Amz-Security-Token: $session"
header = "X-Amz-Target: $2"
header = "Content-Type: application/x-amz-json-${version[$1]}"
max-time = $most
data = "$body"
CONFIG
      [[ $status != 200 ]] || return 0
      error="$status $trouble"
      json "$answer" __type && error=${field##*#}
    else
      error="no role keys from ${keys_from:-instance metadata}: $status $trouble" status=''
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
    pause "$tries" "$((until - now))"
  done
}
