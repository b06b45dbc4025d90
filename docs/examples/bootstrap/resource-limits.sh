#!/usr/bin/env bash
# Limits what a job takes of its VM, so that a job that runs wild still leaves room for the end of its log. Containers
# are docker's: limit them with docker run --memory and --cpus.
set -euo pipefail

install -D -m 0644 /dev/stdin /etc/systemd/system/agent-stack-agent.service.d/limits.conf <<'UNIT'
[Service]
MemoryHigh=85%
MemoryMax=90%
CPUWeight=90
TasksMax=80%
UNIT
systemctl daemon-reload
