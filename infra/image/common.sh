#!/usr/bin/env bash
# What both scripts share that add to a baked image: how values are read, tried and recorded. infra/additions.py puts it in
# front of each. The lines about each value go to the build's log, where `agent-stack images` reads them.
set -euo pipefail
LACKS=/var/cache/agent-stack/lacks # each VM's log repeats it

said=$(mktemp) held=0 left_out=0
trap 'rm -rf "$said"' EXIT
install -d -m 0755 "${LACKS%/*}"

# Fills members with the comma-separated values of $1, which is base64.
members_of() {
  local value all
  members=()
  mapfile -t -d , all < <(base64 -d <<<"$1")
  for value in "${all[@]}"; do
    value=${value//[$'\n\t']/ } value=${value#"${value%%[! ]*}"} value=${value%"${value##*[! ]}"}
    [[ -z $value ]] || members+=("$value")
  done
}

holds() {
  held=$((held + 1))
  printf '%s=%s is in this image\n' "$1" "$2"
}

last_words() {
  local why
  why=$(tr -d '\000-\011\013-\037\177' <"$said" | grep -v '^ *$' | tail -n 1 | cut -c 1-300) || true
  echo "${why:-no reason was given}"
}

# Value $2 of setting $1 is left out, because of what was said last, and perhaps because of $3.
lacks() {
  left_out=$((left_out + 1))
  printf '%s=%s is not in this image: %s%s\n' "$1" "$2" "$(last_words)" "${3:-}" | tee -a "$LACKS" >&2
}

# Three tries, because a mirror or a registry may be busy.
try() {
  local number
  for number in 1 2 3; do
    ! "$@" </dev/null >"$said" 2>&1 || return 0
    ((number == 3)) || sleep "${PAUSE_SECONDS:-$((number * 10))}"
  done
  return 1
}

no() { echo "$1" >"$said" && return 1; }

no_option() { [[ $1 != -* ]] || no "no value begins with a dash, because it would be an option"; }

ended() { echo "BakeImage $1: $held in this image, $left_out left out"; }
