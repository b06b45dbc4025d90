# shellcheck shell=bash
# What private work needs, read from the operator's parameters with the VM's role and left for the job's user.
# Each setting names an SSM parameter, or a secret as /aws/reference/secretsmanager/<name>; {queue} is the job's queue.

fetch_private() {
  install -d -m 0700 -o "$AGENT_USER" -g "$AGENT_USER" "$PRIVATE"
  read_parameters
  load_git_ssh_key
  leave GIT_CREDENTIALS_PARAMETER read_git_credentials git-credentials
  [[ -z ${GIT_CREDENTIALS_PARAMETER:-} ]] || set_git_helper
  leave JOB_ENVIRONMENT_PARAMETER read_job_environment environment
  leave SIGNING_KEY_PARAMETER read_jwks signing-key.json
  leave VERIFICATION_KEY_PARAMETER read_jwks verification-key.json
  if [[ ${mail[credential_kind]} == agent-token ]]; then
    local name
    name=$(parameter_of AGENT_TOKEN_PARAMETER)
    one_word "${value[${name#/}]:-}" || fail "parameter $name holds no agent token: one word, no quotes"
    agent_token=$text
  fi
  load_docker_logins
}

# The parameter of setting $1, as reader $2 gives it, into file $3 of the private directory; nothing without a setting.
leave() {
  local name text=''
  name=$(parameter_of "$1")
  [[ -n $name ]] || return 0
  "$2" "$name" "${value[${name#/}]}"
  printf '%s' "$text" | install -m 0600 -o "$AGENT_USER" -g "$AGENT_USER" /dev/stdin "$PRIVATE/$3"
}

# The key in an ssh-agent of its own unit, never in a file: jobs use it and cannot read it. Root starts it and loads the
# key, before the agent and outside of what a job's environment reaches. It loads no libraries, and ptrace and core dumps
# of it are off. Nobody is there to answer for a passphrase.
load_git_ssh_key() {
  local name text='' until socket=$PRIVATE/ssh
  name=$(parameter_of GIT_SSH_KEY_PARAMETER)
  [[ -n $name ]] || return 0
  read_git_ssh_key "$name" "${value[${name#/}]}"
  command -v ssh-agent >/dev/null || fail "parameter $name needs ssh-agent, which is not installed"
  systemd-run -q -u agent-stack-ssh -p User="$AGENT_USER" -p OOMPolicy=continue -p OOMScoreAdjust=-900 -p LimitCORE=0 \
    ssh-agent -D -P none -a "$socket" || fail "ssh-agent cannot be started"
  tick
  until=$((now + 10))
  until [[ -S $socket ]]; do
    tick
    ((now < until)) || fail "ssh-agent does not answer"
    sleep 0.1
  done
  printf '%s' "$text" | SSH_AUTH_SOCK=$socket SSH_ASKPASS_REQUIRE=never DISPLAY='' \
    timeout --kill-after=2 10 setsid -w ssh-add -q - >/dev/null 2>&1 ||
    fail "parameter $name holds a private key that is damaged or has a passphrase"
  git_ssh_socket=$socket
}

# In git's system configuration, beside the helpers that an image has there. Everybody may read it; the file that it names
# is the job's.
set_git_helper() {
  command -v git >/dev/null || return 0
  (umask 022 && git config --system --add credential.helper "store --file=$PRIVATE/git-credentials") ||
    fail "git's system configuration cannot be written"
}
