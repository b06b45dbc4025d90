#!/usr/bin/env bash
# What the operator adds to a baked image: package repositories, packages and docker images. infra/additions.py writes it
# into a component of infra/image.yaml, below lines that set REPOSITORIES, PACKAGES and IMAGES. They are in base64, so that
# no value is read as shell code. What cannot be had is left out and noted in LACKS, and the image comes without it. The
# lines about each value go to the build's log, where `agent-stack images` reads them.
set -euo pipefail
LACKS=/var/cache/agent-stack/lacks
REPOSITORY_FILES=/etc/yum.repos.d SOURCE_FILES=/etc/apt/sources.list.d KEYRINGS=/etc/apt/keyrings

said=$(mktemp) held=0 left_out=0
DOCKER_CONFIG=$(mktemp -d) # so that no login and no setting of docker's gets into the image
export DOCKER_CONFIG DEBIAN_FRONTEND=noninteractive
trap 'rm -rf "$said" "$DOCKER_CONFIG"' EXIT
install -d -m 0755 "${LACKS%/*}"
rm -f "$LACKS"

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

# Value $2 of setting $1 is left out, because of what was said last.
lacks() {
  local why
  left_out=$((left_out + 1))
  why=$(tr -d '\000-\011\013-\037\177' <"$said" | grep -v '^ *$' | tail -n 1 | cut -c 1-300) || true
  printf '%s=%s is not in this image: %s\n' "$1" "$2" "${why:-no reason was given}" | tee -a "$LACKS" >&2
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

download() { curl -fsSL --proto =https --proto-redir =https --max-time 60 -o "$1" --url "$2"; }

no() { echo "$1" >"$said" && return 1; }

no_option() { [[ $1 != -* ]] || no "no value begins with a dash, because it would be an option"; }

# A .repo file: each of its repositories must answer, because one that does not would fail every later installation.
add_for_dnf() {
  local file=$REPOSITORY_FILES/agent-stack-$1.repo ids
  shift
  (($# == 1)) || no "Amazon Linux takes the URL of a .repo file" || return
  try download "$file" "$1" || return
  ids=$(sed -n 's/^\[\([^]]*\)\].*/\1/p' "$file" | paste -sd ,)
  [[ -n $ids ]] || no "the file names no repository" || return
  try dnf -q -y makecache --repo="$ids"
}

# URL, suite, components, and the URL of its key.
add_for_apt() {
  local file=$SOURCE_FILES/agent-stack-$1.sources key=$KEYRINGS/agent-stack-$1 begin=''
  shift
  (($# >= 3)) || no "Ubuntu takes the repository's URL, its suite, its components and the URL of its key" || return
  install -d -m 0755 "$KEYRINGS"
  try download "$key" "${*: -1}" || return
  read -r -N 10 begin <"$key" || true
  if [[ $begin == -----BEGIN ]]; then mv "$key" "$key.asc" && key+=.asc; else mv "$key" "$key.gpg" && key+=.gpg; fi
  chmod 0644 "$key" # apt reads it as a user of its own
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n' "$1" "$2" "${*:3:$#-3}" "$key" |
    sed '/^Components: $/d' >"$file"
  try apt-get -q update -o APT::Update::Error-Mode=any -o APT::Get::List-Cleanup=0 \
    -o Dir::Etc::sourcelist="$file" -o Dir::Etc::sourceparts=-
}

install_packages() {
  if command -v dnf >/dev/null; then
    dnf -q -y install "$@"
  else
    apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 install --no-install-recommends "$@"
  fi
}

members_of "${REPOSITORIES:-}"
for number in "${!members[@]}"; do
  read -r -a words <<<"${members[number]}"
  if command -v dnf >/dev/null; then add=add_for_dnf; else add=add_for_apt; fi
  if no_option "${words[0]}" && "$add" "$number" "${words[@]}"; then
    holds BakeImageRepositories "${members[number]}"
  else
    rm -f "$REPOSITORY_FILES/agent-stack-$number.repo" "$SOURCE_FILES/agent-stack-$number.sources" \
      "$KEYRINGS/agent-stack-$number"{,.asc,.gpg}
    lacks BakeImageRepositories "${members[number]}"
  fi
done

members_of "${PACKAGES:-}"
packages=()
for name in "${members[@]}"; do
  if no_option "$name"; then packages+=("$name"); else lacks BakeImagePackages "$name"; fi
done
if ((${#packages[@]})); then
  command -v dnf >/dev/null || try apt-get -q update || true
  # All in one go, because it is fast; one by one where a name is wrong, because one must not stop the others.
  install_packages "${packages[@]}" </dev/null >"$said" 2>&1 && apart='' || apart=yes
  for name in "${packages[@]}"; do
    if [[ -z $apart ]] || try install_packages "$name"; then
      holds BakeImagePackages "$name"
    else
      lacks BakeImagePackages "$name"
    fi
  done
fi

members_of "${IMAGES:-}"
if ((${#members[@]})); then
  try systemctl start docker || true # the pulls then say so
  for name in "${members[@]}"; do
    if no_option "$name" && try docker pull -q "$name"; then
      holds BakeImageDockerImages "$name"
    else
      lacks BakeImageDockerImages "$name"
    fi
  done
fi
echo "BakeImage: $held in this image, $left_out left out"
