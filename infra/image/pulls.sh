#!/usr/bin/env bash
# The docker images that the operator adds to a baked image. infra/additions.py writes it into a component of
# infra/image.yaml, below lines that set IMAGES, and LOGINS, ECR_LOGIN, ECR_ACCOUNTS and REGION for the pulls. They are in
# base64, so that no value is read as shell code. What cannot be had is left out, as with additions.sh.
# shellcheck source=common.sh
source "${BASH_SOURCE%/*}/common.sh"
MEMORY=/dev/shm # the logins are nowhere else: what was once on the disk would be in the image's snapshot

DOCKER_CONFIG=$(mktemp -d -p "$MEMORY") unused=''
export DOCKER_CONFIG
trap 'rm -rf "$said" "$DOCKER_CONFIG"' EXIT

# Its output is in answer and not in a file, because it holds a login.
ask_aws() {
  local number
  for number in 1 2 3; do
    ! answer=$(timeout 60 aws --region "$(base64 -d <<<"$REGION")" --output text "$@" </dev/null 2>"$said") || return 0
    ((number == 3)) || sleep "${PAUSE_SECONDS:-$((number * 10))}"
  done
  return 1
}

# A login that is not used stands in the reason of each pull that fails.
not_used() {
  unused+="; $1"
  echo "$1" >&2
}

# Lines of https://user:password@registry, as VMs take them. A wrong one stops no other.
logins_of_parameter() {
  local line number=0 registry login='^https://([^:@[:space:]]+):(.+)@([A-Za-z0-9.-]+(:[0-9]{1,5})?)/?$'
  if [[ $1 == *'{queue}'* ]]; then
    not_used "DockerLoginsParameter=$1 is not used, because a bake has no queue: name a parameter without {queue}"
    return
  elif ! ask_aws ssm get-parameter --with-decryption --name "$1" --query Parameter.Value; then
    not_used "DockerLoginsParameter=$1 cannot be read: $(last_words)"
    return
  fi
  while IFS= read -r line; do
    number=$((number + 1)) line=${line%$'\r'}
    [[ -n $line && $line != '#'* ]] || continue
    if [[ ! $line =~ $login ]]; then
      not_used "DockerLoginsParameter=$1, line $number is not https://user:password@registry"
      continue
    fi
    registry=${BASH_REMATCH[3]}
    case $registry in docker.io | index.docker.io | registry-1.docker.io) registry=https://index.docker.io/v1/ ;; esac
    logins[$registry]=$(printf '%s:%s' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" | base64 -w 0)
  done < <(printf '%s\n' "$answer")
}

logins_of_ecr() {
  local token endpoint account
  if ! ask_aws ecr get-authorization-token --query 'authorizationData[0].[authorizationToken,proxyEndpoint]' ||
    ! read -r token endpoint < <(printf '%s\n' "$answer") || [[ $endpoint != https://* ]]; then
    not_used "EcrLogin=account: no login can be had: $(last_words)"
    return
  fi
  logins[${endpoint#https://}]=$token
  members_of "$1"
  for account in "${members[@]}"; do
    logins[$account.${endpoint#*.}]=$token
  done
}

log_in() {
  local name registry auths=''
  local -A logins=()
  name=$(base64 -d <<<"${LOGINS:-}")
  [[ -z $name ]] || logins_of_parameter "$name"
  [[ $(base64 -d <<<"${ECR_LOGIN:-}") != account ]] || logins_of_ecr "${ECR_ACCOUNTS:-}"
  answer=''
  for registry in "${!logins[@]}"; do
    auths+=",\"$registry\":{\"auth\":\"${logins[$registry]}\"}"
  done
  [[ -z $auths ]] || (umask 077 && printf '{"auths":{%s}}\n' "${auths#,}" >"$DOCKER_CONFIG/config.json")
}

members_of "${IMAGES:-}"
if ((${#members[@]})); then
  try systemctl start docker || true # the pulls then say so
  log_in
  members_of "$IMAGES"
  for name in "${members[@]}"; do
    if no_option "$name" && try docker pull -q "$name"; then
      holds BakeImageDockerImages "$name"
    else
      lacks BakeImageDockerImages "$name" "$unused"
    fi
  done
fi
ended "docker images"
