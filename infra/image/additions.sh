#!/usr/bin/env bash
# What the operator adds to a baked image: package repositories and packages. infra/additions.py writes it into a component
# of infra/image.yaml, below lines that set REPOSITORIES and PACKAGES. They are in base64, so that no value is read as shell
# code. What cannot be had is left out and noted in LACKS, and the image comes without it.
# shellcheck source=common.sh
source "${BASH_SOURCE%/*}/common.sh"
REPOSITORY_FILES=/etc/yum.repos.d SOURCE_FILES=/etc/apt/sources.list.d KEYRINGS=/etc/apt/keyrings

export DEBIAN_FRONTEND=noninteractive
rm -f "$LACKS"

download() { curl -fsSL --proto =https --proto-redir =https --max-time 60 -o "$1" --url "$2"; }

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

ended packages
