#!/usr/bin/env bash
# Lets jobs run some commands as root, with JobSudo=denied. A command that can start others makes the job root.
set -euo pipefail

checked=$(mktemp)
cat >"$checked" <<'SUDOERS'
buildkite-agent ALL=(root) NOPASSWD: /usr/sbin/ethtool, /usr/bin/fuser -k 8080/tcp
SUDOERS
visudo -cqf "$checked" # a file that sudo cannot read would take sudo from everybody
install -D -m 0440 "$checked" /etc/sudoers.d/ci-commands
rm "$checked"
