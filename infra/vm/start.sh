#!/usr/bin/env bash
# What cloud-init runs: arms the timer that ends the VM, unpacks the first stage of the boot program, starts it as a unit.
# User data is a generated header of settings (SETTINGS), the packed first stage (BOOT_PROGRAM), and this file.
set -euo pipefail
umask 077
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin

off() {
  printf 'agent-stack: powering off: %s\n' "${1:-user data ended unexpectedly}"
  systemctl poweroff || systemctl poweroff --force
}
trap off EXIT

fail() {
  trap - EXIT
  off "$1"
  exit 1
}

# First of all, before anything can hang.
lifetime=$'\nMAX_LIFETIME_SECONDS=([1-9][0-9]*)\n'
[[ $SETTINGS =~ $lifetime ]] ||
  fail 'MAX_LIFETIME_SECONDS is not a number of seconds'
systemd-run -q -u agent-stack-lifetime --on-active="${BASH_REMATCH[1]}s" --timer-property=AccuracySec=1s \
  systemctl poweroff || fail 'lifetime timer cannot be armed'

# After a reboot there would be no timer, and no job: cloud-init ends the VM instead.
install -D -m 0755 /dev/stdin /var/lib/cloud/scripts/per-boot/agent-stack <<<$'#!/bin/sh\nsystemctl poweroff' ||
  fail 'a reboot cannot be guarded against'

# Into memory: a full disk must not keep the program from saying so.
program=$(mktemp -d "${TMPDIR:-/run}/agent-stack-program-XXXXXX") || fail 'no room for the boot program'
base64 -d <<<"${BOOT_PROGRAM:-}" | gzip -d >"$program/boot.sh" || fail 'boot program cannot be unpacked'
printf '%s\n' "$SETTINGS" >"$program/settings" || fail 'settings cannot be written'

# A unit whose end powers off: systemd sees to it even when the program is killed, which memory that a job uses up must
# not do.
systemd-run -q -u agent-stack-boot -p SuccessAction=poweroff -p FailureAction=poweroff -p KillMode=mixed \
  -p TimeoutStopSec=120 -p After=network-online.target -p RuntimeDirectory=agent-stack -p StateDirectory=agent-stack \
  -p CacheDirectory=agent-stack -p OOMScoreAdjust=-1000 -p OOMPolicy=continue \
  -p StandardOutput=journal+console -p StandardError=journal+console \
  /bin/bash "$program/boot.sh" || fail 'boot unit cannot be started'
trap - EXIT
