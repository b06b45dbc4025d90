# shellcheck shell=bash
# Docker's mirrors and logins. Root leaves both before the agent starts, so that no job's environment has a part in it.

DOCKER=${DOCKER_DIRECTORY:-/etc/docker}
declare -gA logins=() # by registry, docker's own form of a login
LOGIN_LINE='^https://([^:@[:space:]]+):(.+)@([A-Za-z0-9.-]+(:[0-9]{1,5})?)/?$'
HUB=https://index.docker.io/v1/ # as docker names it in its configuration

# Docker reads mirrors of Docker Hub in a file of its own, a builder of buildx in one of the user's. What an image or the
# bootstrap script wrote there stays.
configure_mirrors() {
  local mirror mirrors=${DOCKER_MIRRORS:-} urls='' hosts='' file=$DOCKER/daemon.json settings='' home
  for mirror in ${mirrors//,/ }; do
    mirror=${mirror%/}
    urls+=,\"$mirror\" hosts+=,\"${mirror#https://}\"
  done
  [[ -n $urls ]] || return 0
  [[ ! -f $file ]] || settings=$(<"$file")
  if [[ $settings == *'"registry-mirrors"'* ]]; then
    say "DockerRegistryMirrors: $file names registry-mirrors of its own, and they stay"
  elif [[ ! ${settings:-'{}'} =~ ^[[:space:]]*\{[[:space:]]*(.*)$ ]]; then
    say "DockerRegistryMirrors: $file holds no JSON object, so docker gets no mirror. Correct what writes it"
  else
    settings=${BASH_REMATCH[1]}
    [[ $settings == '}'* ]] || settings=,$settings
    install -D -m 0644 /dev/stdin "$file" <<<"{\"registry-mirrors\":[${urls#,}]$settings"
    ! systemctl is-active --quiet docker || timeout 30 systemctl reload docker ||
      say "DockerRegistryMirrors: docker could not be reloaded, so it pulls without mirrors"
  fi
  users_home
  [[ ! -e $home/.docker/buildx/buildkitd.default.toml ]] || return 0
  install -d -m 0700 -o "$AGENT_USER" -g "$AGENT_USER" "$home/.docker" "$home/.docker/buildx"
  printf '[registry."docker.io"]\n  mirrors = [%s]\n' "${hosts#,}" |
    install -m 0644 -o "$AGENT_USER" -g "$AGENT_USER" /dev/stdin "$home/.docker/buildx/buildkitd.default.toml"
}

users_home() {
  home=$(getent passwd "$AGENT_USER" | cut -d: -f6) && [[ $home == /* ]] || fail "user $AGENT_USER has no home directory"
}

# The reader of DockerLoginsParameter, of parameter $1 with value $2.
read_docker_logins() {
  in_lines "$2"
  check_lines "$1" "https://user:password@registry" "$LOGIN_LINE" keep_login
}

keep_login() {
  [[ $3 =~ $LOGIN_LINE ]]
  local registry=${BASH_REMATCH[3]}
  case $registry in docker.io | index.docker.io | registry-1.docker.io) registry=$HUB ;; esac
  logins[$registry]=$(printf '%s:%s' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" | base64 | tr -d '\n')
}

load_docker_logins() {
  local name text
  name=$(parameter_of DOCKER_LOGINS_PARAMETER)
  [[ -z $name ]] || read_docker_logins "$name" "${value[${name#/}]}"
  [[ ${ECR_LOGIN:-} != account ]] || log_in_to_ecr
  leave_docker_logins
}

# One login for this region's registries, good for twelve hours: AWS looks at who pulls, not at whose registry it is.
log_in_to_ecr() {
  tell_that_it_lives
  aws ecr AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken '{}' 60 ||
    fail "registry login cannot be had: $error"
  local login='' base64='^[A-Za-z0-9+/=]+$' registry='^https://[A-Za-z0-9.:-]+$' account accounts=${ECR_ACCOUNTS:-}
  json "$answer" authorizationToken && login=$field
  json "$answer" proxyEndpoint && [[ $login =~ $base64 && $field =~ $registry ]] ||
    fail "registry login cannot be had: the answer holds no login"
  field=${field#https://}
  logins[$field]=$login
  for account in ${accounts//,/ }; do
    logins[$account.${field#*.}]=$login
  done
}

# In the job's user's own configuration, because docker has none for the system.
leave_docker_logins() {
  local auths='' home registry
  ((${#logins[@]})) || return 0
  while IFS= read -r registry; do
    auths+=",\"$registry\":{\"auth\":\"${logins[$registry]}\"}"
  done < <(printf '%s\n' "${!logins[@]}" | sort)
  install -d -m 0700 -o "$AGENT_USER" -g "$AGENT_USER" "$PRIVATE/docker"
  printf '{"auths":{%s}}\n' "${auths#,}" |
    install -m 0600 -o "$AGENT_USER" -g "$AGENT_USER" /dev/stdin "$PRIVATE/docker/config.json"
  users_home
  [[ ! -f $home/.docker/config.json ]] || return 0 # an image's own, to which the hook has docker add them
  SECRETS+=("$home/.docker/config.json")
  install -d -m 0700 -o "$AGENT_USER" -g "$AGENT_USER" "$home/.docker"
  install -m 0600 -o "$AGENT_USER" -g "$AGENT_USER" "$PRIVATE/docker/config.json" "$home/.docker/config.json"
}
