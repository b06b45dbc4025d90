# shellcheck shell=bash
# Files from elsewhere: tried again while the refusal may pass, and whole or not at all.

# URL $1 (https or s3), checksum $2 (empty: none), file $3, and what to say of another checksum (empty: that it does not
# match). A URL's query may be what signs it: no message shows it.
fetch() {
  local actual shown=${1%%\?*}
  download "$1" "$3" || fail "cannot download $shown: $error"
  [[ -n $2 ]] || return 0
  actual=$(sha256sum <"$3")
  [[ ${actual%% *} == "$2" ]] || fail "${4:+$shown has the digest ${actual:0:12}..., }${4:-checksum of $shown does not match}"
}

# URL $1 into file $2. Only https, redirects included; plain http from this VM alone, where what answers is its own.
# Fails with error: at once when what is asked for is not there or not for this VM, else after a while in which a network
# that is slow to come, or a connection that is cut, may have passed.
download() {
  local until tries=0 over='^(https://|s3://|http://127\.[0-9.]+[:/])'
  [[ $1 =~ $over ]] || { error='it is not https' && return 1; }
  tick
  until=$((now + ${DOWNLOAD_SECONDS:-180}))
  while :; do
    tries=$((tries + 1))
    if get "$1" "$2.part" $((until - now)); then
      mv "$2.part" "$2"
      return
    fi
    rm -f "$2.part"
    [[ $status != 4?? || $status == 408 || $status == 429 ]] || return 1
    [[ $curl_code != 23 ]] || return 1 # nowhere to write it
    [[ $curl_code != 1 ]] || return 1  # led to something that is not https
    [[ $curl_code != 63 ]] || return 1 # larger than largest
    tick
    ((now < until)) || return 1
    pause "$tries" "$((until - now))"
    tick
  done
}

# URL $1 into file $2 within $3 seconds, once, with the time at which it was put there. A transfer that stands still for 20
# seconds is cut, and one of more than largest bytes, where that is set.
get() {
  local signature=''
  if [[ $1 == s3://* ]]; then
    refresh_keys || { status='' curl_code=0 error='no role keys from instance metadata' && return 1; }
    signature="url = \"${endpoint[s3]}/${1#s3://}\"
aws-sigv4 = \"aws:amz:$DEPLOYMENT_REGION:s3\"
user = \"$key:$secret\"
header = \"X-Amz-Security-Token: $session\"
header = \"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\""
  else
    signature="url = \"$1\"
location
proto-redir = \"=https\""
  fi
  status='' trouble='no room for the request' curl_code=0
  request <<CONFIG
$signature
connect-timeout = 5
max-time = $3
speed-limit = 1
speed-time = 20
remote-time
${largest:+max-filesize = $largest}
output = "$2"
CONFIG
  error="$status $trouble"
  ((curl_code == 0)) && [[ $status == 200 ]]
}
