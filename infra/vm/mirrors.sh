# shellcheck shell=bash
# Git mirrors: seeds of the repositories that the operator lists, which a job made and left in a bucket. A missing or
# broken seed costs time, and never the job: without a mirror the agent clones as ever.

MIRRORS=$STATE/git-mirrors
MIRROR_SECONDS=120 # for all of them: less than a clone of what is worth a seed
MIRROR_BYTES=$((10 << 30)) # of one seed, as it arrives and unpacked
mirrors_said=''            # for the report of the agent's start
mirrors_there=0

# In the order in which they are listed, because time may run out.
seed_mirrors() {
  local repository until most oldest='' age wanted=0 trouble_said=''
  [[ -n ${GIT_MIRRORS:-} && -n ${GIT_MIRROR_SEED_BUCKET:-} ]] || return 0
  report preparing "git mirrors" 3
  install -d -m 0755 -o "$AGENT_USER" -g "$AGENT_USER" "$MIRRORS"
  install -d -m 0755 "$STATE/seeds"
  tick
  until=$((now + MIRROR_SECONDS))
  for repository in ${GIT_MIRRORS//,/ }; do
    wanted=$((wanted + 1)) age=0
    if seed_mirror "$repository"; then
      mirrors_there=$((mirrors_there + 1))
      [[ -n $oldest ]] && ((age <= oldest)) || oldest=$age
      say "mirror of $repository: $((now - began)) s, from a seed that is $age s old"
    else
      say "no mirror of $repository: $error. A job clones it from its server"
      trouble_said=${trouble_said:-$repository: $error}
    fi
    rm -rf "$STATE/seeds/seed" "$STATE/seeds/seed.part" "$MIRRORS/.seed" # what a refused one left
  done
  mirrors_said="(mirrors $mirrors_there/$wanted ${oldest:-0} s) $trouble_said"
}

# Fills age and began; fails with error.
seed_mirror() {
  local name=${1//[^A-Za-z0-9]/-} DOWNLOAD_SECONDS=0 seed=$STATE/seeds/seed ending room code=0 largest
  command -v git >/dev/null || { error='there is no git on this VM: add git to Packages' && return 1; }
  tick
  began=$now DOWNLOAD_SECONDS=$((until - now))
  ((DOWNLOAD_SECONDS > 0)) || { error="the $MIRROR_SECONDS s for mirrors are over" && return 1; }
  room=$(df --output=avail -B1 "$STATE" | tail -n 1)
  largest=$((room / 3 < MIRROR_BYTES ? room / 3 : MIRROR_BYTES)) # the seed, what is in it, and the job
  for ending in tar tar.gz; do
    download "s3://$GIT_MIRROR_SEED_BUCKET/git-mirror-seeds/$name.$ending" "$seed" && break
    [[ $status == 40[34] ]] || return 1 # S3 says 403 of what is not there to a role that may not list
    [[ $ending == tar ]] || { error="there is no seed git-mirror-seeds/$name.tar or .tar.gz in $GIT_MIRROR_SEED_BUCKET that this VM may read" && return 1; }
  done
  chmod 0644 "$seed"
  age=$(($(date +%s) - $(stat -c %Y "$seed"))) # curl gives it the time at which it was uploaded
  tick
  unpack_as_the_job "$name" "$1" "$seed" "$ending" || code=$?
  tick
  [[ $code != 0 || ! -f $MIRRORS/$name/HEAD ]] || return 0
  error=$(tail -n 1 "$STATE/seeds/said" 2>/dev/null)
  error="its seed is refused: ${error:-it took longer than $((until - began)) s or more memory than half of the VM (code $code)}"
  return 1
}

# A seed is what somebody else's job wrote: it meets tar and git as the job's user, without a network, and with nothing
# to write but the mirrors. Whatever it started is gone with its unit.
unpack_as_the_job() {
  rm -f "$STATE/seeds/said"
  {
    printf 'set -euo pipefail\numask 022\nexport LC_ALL=C PATH=%q\n' "$PATH"
    declare -f unpack_seed take_objects take_refs refuse_seed
    printf 'unpack_seed %q %q %q %q %q %q\n' "$MIRRORS" "$1" "$2" "$3" "$4" "$largest"
  } | install -m 0644 /dev/stdin "$STATE/seeds/unpack"
  systemd-run -q -u agent-stack-seed --wait --collect -p User="$AGENT_USER" -p RuntimeMaxSec=$((until - now)) \
    -p PrivateNetwork=yes -p PrivateTmp=yes -p ProtectSystem=strict -p ReadWritePaths="$MIRRORS" -p NoNewPrivileges=yes \
    -p MemoryMax=50% -p TasksMax=64 -p LimitCORE=0 -p StandardOutput=append:"$STATE/seeds/said" \
    -p StandardError=append:"$STATE/seeds/said" /bin/bash "$STATE/seeds/unpack"
}

# shellcheck source=seed.sh
source "${BASH_SOURCE%/*}/seed.sh"
