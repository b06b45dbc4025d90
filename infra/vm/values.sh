# shellcheck shell=bash
# The operator's parameters: read with one call, and refused where they cannot be used, before the credential is taken.

PARAMETERS=(
  GIT_SSH_KEY_PARAMETER GIT_CREDENTIALS_PARAMETER JOB_ENVIRONMENT_PARAMETER SIGNING_KEY_PARAMETER VERIFICATION_KEY_PARAMETER
  DOCKER_LOGINS_PARAMETER
)

# Fills the array value, by name, with all parameters that this job needs. One call: a store that answers 40 calls a
# second is asked by a thousand VMs at once.
read_parameters() {
  local setting name settings=("${PARAMETERS[@]}") list missing=()
  local -A wanted=()
  [[ ${mail[credential_kind]} != agent-token ]] || settings+=(AGENT_TOKEN_PARAMETER)
  for setting in "${settings[@]}"; do
    name=$(parameter_of "$setting")
    [[ -z $name ]] || { check_name "$setting" "$name" && wanted[${name#/}]=$name; }
  done
  ((${#wanted[@]})) || return 0
  tell_that_it_lives
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

# Of setting $1 the parameter's name $2, with the job's queue in it: nothing that a shell or a path reads in its own way,
# so that a queue's key leads to no other queue's secret.
check_name() {
  local key='^[A-Za-z0-9._=@+-]*$' whole='^/?[A-Za-z0-9._=@+-]+(/[A-Za-z0-9._=@+-]+)*$' dots='(^|/)\.+(/|$)'
  local word shown=''
  for word in ${1//_/ }; do
    word=${word,,} shown+=${word^}
  done
  [[ ${!1} != *'{queue}'* || -n ${mail[queue_key]} ]] ||
    fail "$shown holds {queue}, and the parameter Queues names this job's queue by an alias. Name the queue by its key in Queues, or write a name without {queue}"
  [[ ${!1} != *'{queue}'* || ${mail[queue_key]} =~ $key ]] ||
    fail "$shown cannot name a parameter of queue ${mail[queue_key]}: give the queue a key of letters, digits and ._-"
  [[ $2 =~ $whole && ! $2 =~ $dots ]] ||
    fail "$shown names parameter $2, which a shell or a path could misread: use letters, digits and ._- between single slashes"
}

# The name that setting $1 holds, for this job's queue.
parameter_of() {
  local name=${!1:-}
  printf '%s' "${name//'{queue}'/"${mail[queue_key]}"}"
}

# Fills value from GetParameters' answer $1: each string of it in turn, and after a colon it is the value of the one before.
read_values() {
  local left=$1 rest='' gap raw backslashes key='' name='' text='' colon='^[[:space:]]*:[[:space:]]*$'
  while to_quote; do
    gap=$before
    [[ $gap != *'}'* ]] || keep_value
    raw=
    while to_quote; do # up to the quote that no backslash escapes
      raw+=$before
      backslashes=${before##*[!\\]}
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

# Fills before with what stands before the next quote, and takes both off; fails where there is none.
to_quote() {
  before=
  while
    more
    [[ $rest != *'"'* ]]
  do
    before+=$rest rest=
    [[ -n $left ]] || return 1
  done
  before+=${rest%%'"'*} rest=${rest#*'"'}
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

# Each line of text must match $3 (an extended regular expression), or be empty or a comment; $1 is the parameter, $2
# what a line should be. $4, if given, is called with parameter, number and line.
check_lines() {
  local line number=0
  while IFS= read -r line; do
    number=$((number + 1))
    [[ -z $line || $line == '#'* ]] && continue
    [[ $line =~ $3 ]] || refuse "$1" "$number" "is not $2"
    "${4:-true}" "$1" "$number" "$line"
  done <<<"${text%$'\n'}"
}

job_variables=() # names in JobEnvironmentParameter, whose values the agent hides
ENVIRONMENT_LINE='^[A-Za-z_][A-Za-z0-9_]*='
SHELLS_OWN='^(BASH_VERSINFO|EUID|PPID|UID)$' # which bash lets nobody set
# What decides how programs start, or what the agent and our hook do. Test collectors read BUILDKITE_ANALYTICS_*, and the
# agent does not.
CONTROLS='^(LD_.*|PATH|ENV|BASH_ENV|BASHOPTS|SHELLOPTS|BUILDKITE|BUILDKITE_.*|AGENT_STACK_.*)$'

check_variable() {
  local name=${3%%=*}
  [[ ! $name =~ $SHELLS_OWN ]] || refuse "$1" "$2" "names a variable of the shell's own: $name. Remove the line"
  [[ ! $name =~ $CONTROLS || $name == BUILDKITE_ANALYTICS_* ]] || refuse "$1" "$2" \
    "names $name, which controls how programs, the agent or its hooks run. Give the variable another name"
  job_variables+=("$name")
}
CREDENTIAL_LINE='^https?://[^@[:space:]]+@[^[:space:]]+$'

# The readers, each of parameter $1 with value $2; they fill text with what is left for the job.
read_job_environment() {
  in_lines "$2"
  job_variables=()
  check_lines "$1" "NAME=value" "$ENVIRONMENT_LINE" check_variable
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
