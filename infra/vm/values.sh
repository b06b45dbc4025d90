# shellcheck shell=bash
# The operator's parameters: read with one call, and refused where they cannot be used, before the credential is taken.

PARAMETERS=(
  GIT_SSH_KEY_PARAMETER GIT_CREDENTIALS_PARAMETER JOB_ENVIRONMENT_PARAMETER SIGNING_KEY_PARAMETER VERIFICATION_KEY_PARAMETER
)

# Fills the array value, by name, with all parameters that this job needs. One call: a store that answers 40 calls a
# second is asked by a thousand VMs at once.
read_parameters() {
  local setting name settings=("${PARAMETERS[@]}") list missing=()
  local -A wanted=()
  [[ ${mail[credential_kind]} != agent-token ]] || settings+=(AGENT_TOKEN_PARAMETER)
  for setting in "${settings[@]}"; do
    name=$(parameter_of "$setting")
    [[ -z $name ]] || wanted[${name#/}]=$name
  done
  ((${#wanted[@]})) || return 0
  printf -v list '"%s",' "${wanted[@]}"
  if ! aws ssm AmazonSSM.GetParameters "{\"Names\":[${list%,}],\"WithDecryption\":true}" "${PARAMETER_SECONDS:-120}"; then
    json "$answer" message || json "$answer" Message || field=$trouble
    fail "parameter ${wanted[*]} cannot be read: $error: $field"
  fi
  read_values "$answer"
  for name in "${wanted[@]}"; do
    [[ -v value[${name#/}] ]] || missing+=("$name")
  done
  ((${#missing[@]} == 0)) || fail "parameter ${missing[*]} cannot be read: it is not there"
}

# The name that setting $1 holds, for this job's queue.
parameter_of() {
  local name=${!1:-}
  printf '%s' "${name//'{queue}'/"${mail[queue_key]}"}"
}

# Fills value from GetParameters' answer $1: each string of it in turn, and after a colon it is the value of the one before.
read_values() {
  local rest=$1 gap raw backslashes key='' name='' text='' colon='^[[:space:]]*:[[:space:]]*$'
  while [[ $rest == *'"'* ]]; do
    gap=${rest%%'"'*} rest=${rest#*'"'}
    [[ $gap != *'}'* ]] || keep_value
    raw=
    while :; do # up to the quote that no backslash escapes
      raw+=${rest%%'"'*} rest=${rest#*'"'}
      backslashes=${raw##*[!\\]}
      ((${#backslashes} % 2)) || break
      raw+='"'
    done
    if [[ ! $gap =~ $colon ]]; then
      key=$raw
    elif [[ $key == Name ]]; then
      unescape "$raw" && name=$field
    elif [[ $key == Value ]]; then
      text=$raw
    fi
  done
  keep_value
}

keep_value() {
  [[ -n $name ]] || return 0
  unescape "$text" || refuse "$name" "$(lines_in "$field")" "holds a NUL character, which no program can be given"
  value[${name#/}]=$field
  name='' text=''
}

# The number of the line that text $1 ends in.
lines_in() {
  local ends=${1//[!$'\n']/}
  printf '%d' $((${#ends} + 1))
}

refuse() { fail "parameter $1, line $2 $3"; }

# Fills text with $1 in lines: an editor may end them with CR LF, and leave the last one without an end.
in_lines() {
  text=${1//$'\r\n'/$'\n'}
  [[ -z $text || $text == *$'\n' ]] || text+=$'\n'
}

# Each line of text must match $3 (an extended regular expression) and not $4, or be empty or a comment; $1 is the
# parameter, $2 what a line should be.
check_lines() {
  local line number=0
  while IFS= read -r line; do
    number=$((number + 1))
    [[ -z $line || $line == '#'* ]] && continue
    [[ $line =~ $3 ]] || refuse "$1" "$number" "is not $2"
    [[ ! $line =~ ${4:-^$} ]] || refuse "$1" "$number" "names a variable of the shell's own: ${line%%=*}"
  done <<<"${text%$'\n'}"
}

ENVIRONMENT_LINE='^[A-Za-z_][A-Za-z0-9_]*='
SHELLS_OWN='^(BASHOPTS|BASH_VERSINFO|EUID|PPID|SHELLOPTS|UID)=' # which bash lets nobody set
CREDENTIAL_LINE='^https?://[^@[:space:]]+@[^[:space:]]+$'

# The readers, each of parameter $1 with value $2; they fill text with what is left for the job.
read_job_environment() {
  in_lines "$2"
  check_lines "$1" "NAME=value" "$ENVIRONMENT_LINE" "$SHELLS_OWN"
}

read_git_credentials() {
  in_lines "$2"
  check_lines "$1" "https://user:token@host" "$CREDENTIAL_LINE"
}

read_git_ssh_key() {
  in_lines "$2"
  [[ $text == '-----BEGIN '*'-----'$'\n'* ]] || refuse "$1" 1 "does not begin a private key (-----BEGIN … PRIVATE KEY-----)"
}

# As stored: the agent reads it itself.
read_jwks() {
  local jwks='^[[:space:]]*[{].*"keys"'
  text=$2
  [[ $text =~ $jwks ]] || refuse "$1" 1 'does not begin a set of keys ({"keys": […]})'
}

# Takes what stands around $1 off it; fails on all but one word of printable ASCII. The functions read tokens so, too.
one_word() {
  local word='^[[:space:]]*([!-~]+)[[:space:]]*$'
  [[ $1 =~ $word ]] && text=${BASH_REMATCH[1]}
}
