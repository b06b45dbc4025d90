# shellcheck shell=bash
# What an image may lack: the operator's own preparation, packages, the agent, its user.

# All that does not depend on the job.
prepare() {
  tell_lacks
  read_facts
  spare_units
  ensure_user
  run_bootstrap
  configure_mirrors
  ensure_packages
  ensure_agent
  confine_job
  install_hooks
  install_job_access
  write_known_hosts
  seed_mirrors
}

# What its image was to hold and lacks, as the image's build noted it.
tell_lacks() {
  local line
  [[ -r $PROGRAMS/lacks ]] || return 0
  while IFS= read -r line; do
    say "$line"
  done <"$PROGRAMS/lacks"
}

# Where this VM runs and what it is, as agent tags under the vendor's own names. What EC2 does not say is left out.
read_facts() {
  local pair
  facts=()
  for pair in instance-id=instanceId instance-type=instanceType ami-id=imageId availability-zone=availabilityZone; do
    ! json "$document" "${pair#*=}" || facts+=("aws:${pair%%=*}=$field")
  done
  ! imds meta-data/instance-life-cycle || facts+=("aws:instance-life-cycle=$answer")
}

# Ubuntu restarts what runs with an outdated library after each installation, a job's own included: not our units. Nor
# does it upgrade itself while a job runs.
spare_units() {
  command -v apt-get >/dev/null || return 0
  install -D -m 0644 /dev/stdin /etc/needrestart/conf.d/agent-stack.conf \
    <<<"\$nrconf{override_rc}{qr(^agent-stack-)} = 0;"
  systemctl stop apt-daily.timer apt-daily-upgrade.timer || true # an image may lack them
}

# The job's user, and its directories. Before the operator's script, which may want to give it things.
ensure_user() {
  id "$AGENT_USER" >/dev/null 2>&1 ||
    useradd --system --user-group --create-home --home-dir /var/lib/buildkite-agent --shell /bin/bash "$AGENT_USER"
  install -d -m 0755 -o "$AGENT_USER" -g "$AGENT_USER" "$STATE/builds" "$STATE/plugins"
}

# The operator's script, as root and with what root usually has. It may be one for each class, or ask for the class; what
# it writes into the file AGENT_STACK_ENVIRONMENT are settings of the agent.
run_bootstrap() {
  local code=0 class=''
  [[ -n ${BOOTSTRAP_URL:-} ]] || return 0
  report preparing "bootstrap script" 3
  ! imds meta-data/tags/instance/agent-stack:class || class=${answer%%/*} # without what its job chose
  [[ -n $class || $BOOTSTRAP_URL != *'{class}'* ]] || fail "BootstrapUrl names {class}, and the VM's tags do not say it"
  fetch "${BOOTSTRAP_URL//'{class}'/$class}" "${BOOTSTRAP_SHA256:-}" "$STATE/bootstrap"
  chmod 0700 "$STATE/bootstrap"
  (
    echo 0 >/proc/self/oom_score_adj || true # what it starts is not to be spared as the boot program is
    export AGENT_STACK_CLASS=$class AGENT_STACK_ENVIRONMENT=$STATE/agent-settings
    umask 022 && HOME=/root exec setsid -w timeout --kill-after=5 "${BOOTSTRAP_TIMEOUT_SECONDS:-240}" "$STATE/bootstrap" </dev/null
  ) || code=$?
  ((code == 0)) || fail "bootstrap script ended with code $code"
}

# Packages whose command is missing; the distribution's own package manager names them differently.
ensure_packages() {
  local name missing=() PACKAGES=${PACKAGES:-}
  for name in ${PACKAGES//,/ }; do
    command -v "$name" >/dev/null || missing+=("$name")
  done
  if ((${#missing[@]})); then
    report preparing "installing ${missing[*]}" 3
    if command -v dnf >/dev/null; then
      patiently dnf install -q -y "${missing[@]}" || fail "cannot install ${missing[*]}"
    else
      patiently apt-get -qq update || fail "package lists cannot be had"
      patiently apt-get -qq install -y --no-install-recommends "${missing[@]/%docker/docker.io}" || fail "cannot install ${missing[*]}"
    fi
  fi
  if [[ ,$PACKAGES, == *,docker,* ]]; then
    timeout 90 systemctl start docker || fail "docker cannot be started"
  fi
}

# A package manager, tried for two minutes: on its first boot an image updates itself, and holds the locks meanwhile.
patiently() {
  local until tries=0
  tick
  until=$((now + 120))
  until DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 timeout 300 "$@" </dev/null >/dev/null; do
    tick
    ((now < until)) || return 1
    pause "$((tries += 1))" 4
  done
}

agent_digests() {
  cat <<'DIGESTS'
@data/agent_digests@
DIGESTS
}

# The digest of agent $1 for machines of type $2 that this stack knows, if it does.
agent_digest() {
  local version machine digest
  while read -r version machine digest; do
    [[ $version != "$1" || $machine != "$2" ]] || printf '%s' "$digest"
  done < <(agent_digests)
}

# The image's own agent, else the release of AgentVersion. A digest that this stack knows is what counts: a mirror that was
# tampered with has the checksum that fits. Of any other version the published checksum has to do.
ensure_agent() {
  local machine url expected known=''
  agent=$(command -v buildkite-agent) && return
  report agent_installing "$AGENT_VERSION" 3
  machine=$(uname -m)
  case $machine in
    x86_64) machine=amd64 ;;
    aarch64) machine=arm64 ;;
    *) fail "no agent for machine type $machine" ;;
  esac
  url=$AGENT_DOWNLOAD_URL/$AGENT_VERSION/buildkite-agent-linux-$machine
  agent=$STATE/bin/buildkite-agent
  install -d -m 0755 "$STATE/bin"
  expected=$(agent_digest "$AGENT_VERSION" "$machine")
  known=${expected:+and this stack knows ${expected:0:12}.... Set AgentDownloadUrl to another mirror, or run scripts/pin-agent $AGENT_VERSION and deploy}
  if [[ -z $expected ]]; then
    say "agent $AGENT_VERSION: its digest is not known here, its published checksum counts"
    fetch "$url.sha256" "" "$agent.sha256"
    read -r expected _ <"$agent.sha256" || true # its last newline may be missing
    [[ $expected =~ ^[0-9a-f]{64}$ ]] || fail "checksum of $url is not published"
  fi
  fetch "$url" "$expected" "$agent.new" "$known"
  chmod 0755 "$agent.new"
  mv "$agent.new" "$agent"
}

# What the job's user may do on the VM. The agent's unit is kept from the metadata service by its control group; the
# user is, too, for it finds ways out of that: a login over ssh to itself, a lingering session, cron.
confine_job() {
  local uid
  if [[ ${JOB_SUDO:-} == allowed ]]; then
    install -m 0440 /dev/stdin /etc/sudoers.d/agent-stack <<<"$AGENT_USER ALL=(ALL) NOPASSWD: ALL"
  fi
  if [[ ${JOB_DOCKER:-} == allowed ]] && command -v docker >/dev/null; then
    usermod --append --groups docker "$AGENT_USER" || say "there is a docker command, and no group of that name"
  fi
  [[ ${JOB_METADATA:-blocked} == blocked ]] || return 0
  uid=$(id -u "$AGENT_USER") && ip rule add prohibit to 169.254.169.254/32 uidrange "$uid-$uid" ||
    fail "metadata cannot be kept from the job's user"
  [[ ! -d /proc/sys/net/ipv6 ]] || ip -6 rule add prohibit to fd00:ec2::254/128 uidrange "$uid-$uid" ||
    fail "metadata cannot be kept from the job's user over IPv6"
}

# The operator's agent hooks, and ours, which give way to none: each runs the operator's hook of the same name.
install_hooks() {
  local name
  install -d -m 0755 "${HOOKS%/*}" "$HOOKS"
  if [[ -n ${HOOKS_URL:-} ]]; then
    fetch "$HOOKS_URL" "${HOOKS_SHA256:-}" "$STATE/hooks.tar.gz"
    timeout 60 tar -xzf "$STATE/hooks.tar.gz" -C "$HOOKS" --no-same-owner || fail "hooks bundle cannot be unpacked"
    chmod -R u=rwX,go=rX "$HOOKS"
  fi
  for name in environment pre-exit; do
    [[ ! -f $HOOKS/$name ]] || mv "$HOOKS/$name" "$HOOKS/$name.operator"
    "${name}_hook" | install -m 0755 /dev/stdin "$HOOKS/$name"
  done
}

environment_hook() {
  cat <<'HOOK'
@hooks/environment@
HOOK
}

pre-exit_hook() {
  cat <<'HOOK'
@hooks/pre-exit@
HOOK
}
