#!/usr/bin/env bash
# Makes one striped disk of the VM's instance store, and puts builds and docker's data onto it. A VM without instance
# store stays as it is. What is on such a disk ends with the VM.
set -euo pipefail

mapfile -t disks < <(lsblk --nodeps --noheadings --output PATH,MODEL | awk '/Amazon EC2 NVMe Instance Storage/ {print $1}')
((${#disks[@]})) || exit 0

disk=${disks[0]}
if ((${#disks[@]} > 1)); then
  if ! command -v mdadm >/dev/null; then
    if command -v dnf >/dev/null; then dnf install -q -y mdadm; else apt-get -qq update && apt-get -qq install -y mdadm; fi
  fi
  disk=/dev/md0
  mdadm --create "$disk" --run --level=0 --raid-devices="${#disks[@]}" "${disks[@]}"
fi
mkfs.ext4 -q -E nodiscard "$disk" # a new disk has nothing to discard, which would take minutes
store=$STATE_DIRECTORY/instance-store
install -d -m 0755 "$store"
mount -o noatime "$disk" "$store"

install -d -m 0755 -o buildkite-agent -g buildkite-agent "$store/builds"
mount --bind "$store/builds" "$STATE_DIRECTORY/builds"

# Images that the VM's image brought would be hidden: then docker stays where it is.
if [[ -z $(ls -A /var/lib/docker/image 2>/dev/null) ]]; then
  ran=0
  ! systemctl is-active --quiet docker || ran=1
  ((ran == 0)) || systemctl stop docker.socket docker
  install -d -m 0710 "$store/docker" /var/lib/docker
  mount --bind "$store/docker" /var/lib/docker
  ((ran == 0)) || systemctl start docker
fi
