# shellcheck shell=bash
# What becomes of one seed, in a unit of its own (mirrors.sh). Nothing of it is kept but objects and names: a repository of
# our own gets its packs, whose index git makes anew, so that an object has the name of what is in it or is not there.

refuse_seed() {
  printf '%s\n' "$*"
  exit 1
}

# Into directory $1 the mirror $2 of repository $3 from archive $4 (of kind $5), which may hold $6 bytes.
unpack_seed() {
  local place=$1 name=$2 scratch found
  export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME=/nonexistent
  cd "$place"
  rm -rf .seed && mkdir .seed && cd .seed
  mkdir scratch
  if [[ $5 == tar ]]; then
    (($(stat -c %s "$4") <= $6)) || refuse_seed "it has more than $6 bytes"
    tar -xf "$4" -C scratch --no-same-owner --no-same-permissions >tar.said 2>&1 || refuse_seed "$(head -n 1 tar.said)"
  else # more than its share of the disk is cut off, which tar takes for a broken archive
    gzip -dc "$4" 2>gzip.said | head -c "$6" |
      tar -xf - -C scratch --no-same-owner --no-same-permissions >tar.said 2>&1 ||
      refuse_seed "$(head -qn 1 tar.said gzip.said | tr '\n' ' ')"
  fi
  found=$(ls -A scratch)
  [[ $found == "$name" ]] || refuse_seed "it holds ${found//$'\n'/ } instead of one directory $name"
  scratch=$place/.seed/scratch/$name
  found=$(find "$scratch" ! -type d \( ! -type f -o -links +1 \) -print -quit)
  [[ -z $found ]] || refuse_seed "it holds ${found#"$scratch/"}, which is a link or no file"
  for found in alternates http-alternates; do
    [[ ! -e $scratch/objects/info/$found ]] || refuse_seed "it holds objects/info/$found, which leads out of it"
  done
  git init -q --bare --template= mirror
  git -C mirror config remote.origin.url "$3"
  git -C mirror config remote.origin.fetch '+refs/*:refs/*'
  git -C mirror config remote.origin.mirror true
  take_objects "$scratch/objects"
  take_refs "$scratch"
  # What git takes for granted of a mirror: whatever a name leads to is there.
  git -C mirror rev-list --objects --all --quiet >git.said 2>&1 || refuse_seed "objects are missing: $(tail -n 1 git.said)"
  mv mirror "$place/$name"
  cd "$place"
  rm -rf .seed
}

take_objects() {
  local file name pack='^pack-[0-9a-f]{40}\.pack$' loose='^[0-9a-f]{2}/[0-9a-f]{38}$'
  for file in "$1"/pack/*.pack; do
    [[ -f $file ]] || continue
    name=${file##*/}
    [[ $name =~ $pack ]] || refuse_seed "it holds a pack $name"
    mv "$file" mirror/objects/pack/
    git -C mirror index-pack "objects/pack/$name" >git.said 2>&1 || refuse_seed "pack $name: $(tail -n 1 git.said)"
  done
  found=0
  while IFS= read -r -d '' file; do
    name=${file#"$1/"}
    [[ $name =~ $loose ]] || continue # commit graphs and such: git does without
    mkdir -p "mirror/objects/${name%/*}"
    mv "$file" "mirror/objects/$name"
    found=1
  done < <(find "$1" -mindepth 2 -maxdepth 2 -type f -print0)
  # Objects that are no part of a pack: each is read, and its name is compared with what is in it.
  ((!found)) || git -C mirror fsck --no-full --no-dangling --no-reflogs --no-progress >git.said 2>&1 ||
    refuse_seed "objects: $(head -n 1 git.said)"
}

# Names and what they lead to; no symbolic ones, but HEAD.
take_refs() {
  local head line='^ref: (refs/heads/[!-~]+)$'
  {
    [[ ! -f $1/packed-refs ]] || grep -E '^[0-9a-f]{40} refs/[!-~]+$' "$1/packed-refs" || true
    [[ ! -d $1/refs ]] || (cd "$1" && find refs -type f -size -2 -exec grep -EH '^[0-9a-f]{40}$' {} + |
      sed -E -n 's/^(refs\/[!-~]+):([0-9a-f]{40})$/\2 \1/p') || true
  } | awk '{ names[$2] = $1 } END { for (name in names) print "create " name " " names[name] }' >refs
  [[ -s refs ]] || refuse_seed "it names no commit"
  git -C mirror update-ref --stdin <refs >git.said 2>&1 || refuse_seed "names: $(tail -n 1 git.said)"
  git -C mirror pack-refs --all
  head=$(head -c 1000 "$1/HEAD" 2>/dev/null | head -n 1) || head=''
  [[ ! $head =~ $line ]] || git -C mirror symbolic-ref HEAD "${BASH_REMATCH[1]}"
}
