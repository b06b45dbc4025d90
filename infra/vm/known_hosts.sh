# shellcheck shell=bash
# Host keys of git servers, where root puts them: into the system's files, out of reach of a job's environment.

SSH=${SSH_DIRECTORY:-/etc/ssh}

shipped_host_keys() {
  cat <<'KEYS'
@data/known_hosts@
KEYS
}

HOST_KEY_LINE='^[]A-Za-z0-9.,:*?[_-]+ (ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) AAAA[A-Za-z0-9+/]+=*( .*)?$'

# A listed host is known by its listed keys alone; any other one by the key that it shows first. Hosts in GitKnownHosts
# take the place of those that are shipped.
write_known_hosts() {
  local keys='' hosts='' number=0 own='' line host names
  text=$(printf '%s' "${GIT_KNOWN_HOSTS:-}" | base64 -d && printf .) || fail "GIT_KNOWN_HOSTS is not base64"
  text=${text%.}
  in_lines "${text//;/$'\n'}"
  while read -r line; do
    number=$((number + 1))
    [[ -z $line || $line == '#'* ]] && continue
    [[ $line =~ $HOST_KEY_LINE ]] ||
      refuse GitKnownHosts "$number" "is not host, type and key, as a known_hosts file has them. Write hosts unhashed"
    keys+=$line$'\n'
    hosts+=${line%% *},
  done <<<"${text%$'\n'}"
  while read -r line; do
    [[ $line == '#'* || ,$hosts == *",${line%% *},"* ]] || keys+=$line$'\n'
  done < <(shipped_host_keys)
  install -D -m 0644 /dev/stdin "$SSH/ssh_known_hosts2" <<<"$keys" # of the system's two files the one that images leave
  hosts=
  while read -r line; do
    IFS=, read -ra names <<<"${line%% *}"
    for host in "${names[@]}"; do
      host=${host#[} host=${host%%]*} # without a port
      [[ " $hosts " == *" $host "* ]] || hosts+=${hosts:+ }$host
    done
  done <<<"${keys%$'\n'}"
  install -D -m 0644 /dev/stdin "$SSH/ssh_config.d/00-agent-stack.conf" <<CONFIG
Host $hosts
StrictHostKeyChecking yes
CONFIG
  # ssh takes the first value that it finds: the rule for listed hosts stands before all of the image's, and the one for
  # other hosts after all of them, because the image's may be stricter. The file is read before anything replaces it.
  [[ ! -f $SSH/ssh_config ]] || own=$(<"$SSH/ssh_config") || fail "$SSH/ssh_config cannot be read"
  install -m 0644 /dev/stdin "$SSH/ssh_config" <<CONFIG
Include $SSH/ssh_config.d/00-agent-stack.conf
$own
Host *
StrictHostKeyChecking accept-new
CONFIG
}
