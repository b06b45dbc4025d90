# shellcheck shell=bash
# What private work needs, read from the operator's parameters with the VM's role and left for the job's user.
# Each setting names an SSM parameter, or a secret as /aws/reference/secretsmanager/<name>; {queue} is the job's queue.

# Parameter $1 into file $2 of the private directory; nothing when the setting is empty.
keep_parameter() {
  local name=${1//\{queue\}/${mail[queue_key]}}
  [[ -n $name ]] || return 0
  read_parameter "$name" || fail "parameter $name cannot be read: $error"
  printf '%s\n' "$field" | install -m 0600 -o "$AGENT_USER" -g "$AGENT_USER" /dev/stdin "$PRIVATE/$2"
}

# Fills field with the value of SSM parameter $1.
read_parameter() {
  aws ssm AmazonSSM.GetParameter "{\"Name\":\"$1\",\"WithDecryption\":true}" 20 && json "$answer" Value
}

fetch_private() {
  install -d -m 0700 -o "$AGENT_USER" -g "$AGENT_USER" "$PRIVATE"
  keep_parameter "${GIT_SSH_KEY_PARAMETER:-}" git-ssh-key
  keep_parameter "${GIT_CREDENTIALS_PARAMETER:-}" git-credentials
  keep_parameter "${JOB_ENVIRONMENT_PARAMETER:-}" environment
  keep_parameter "${SIGNING_KEY_PARAMETER:-}" signing-key.json
  keep_parameter "${VERIFICATION_KEY_PARAMETER:-}" verification-key.json
  [[ ${ECR_LOGIN:-} != account ]] || log_in_to_ecr
}

# Docker's own form of a login, for this account's registry in this region; good for twelve hours.
log_in_to_ecr() {
  aws ecr AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken '{}' 20 ||
    fail "registry login cannot be had: $error"
  json "$answer" authorizationToken && local login=$field
  json "$answer" proxyEndpoint
  install -d -m 0700 -o "$AGENT_USER" -g "$AGENT_USER" "$PRIVATE/docker"
  printf '{"auths":{"%s":{"auth":"%s"}}}\n' "${field#https://}" "$login" |
    install -m 0600 -o "$AGENT_USER" -g "$AGENT_USER" /dev/stdin "$PRIVATE/docker/config.json"
}
