PARAMETERS=(
GIT_SSH_KEY_PARAMETER GIT_CREDENTIALS_PARAMETER JOB_ENVIRONMENT_PARAMETER SIGNING_KEY_PARAMETER VERIFICATION_KEY_PARAMETER
DOCKER_LOGINS_PARAMETER
)
read_parameters() {
local setting name settings=("${PARAMETERS[@]}") list missing=()
local -A wanted=()
[[ ${mail[credential_kind]} != agent-token ]] || settings+=(AGENT_TOKEN_PARAMETER)
for setting in "${settings[@]}"; do
name=$(parameter_of "$setting")
[[ -z $name ]] || { check_name "$setting" "$name" && wanted[${name#/}]=$name; }
done
((${#wanted[@]})) || return 0
tell_that_it_lives
printf -v list '"%s",' "${wanted[@]}"
if ! aws ssm AmazonSSM.GetParameters "{\"Names\":[${list%,}],\"WithDecryption\":true}" "${PARAMETER_SECONDS:-120}"; then
json "$answer" message || json "$answer" Message || field=$trouble
fail "parameter ${wanted[*]} cannot be read: $error: $field"
fi
read_values "$answer"
for name in "${wanted[@]}"; do
[[ -v value[${name#/}] ]] || missing+=("$name")
done
((${#missing[@]} == 0)) || fail "parameter ${missing[*]} cannot be read: it is not there"
}
check_name() {
local key='^[A-Za-z0-9._=@+-]*$' whole='^/?[A-Za-z0-9._=@+-]+(/[A-Za-z0-9._=@+-]+)*$' dots='(^|/)\.+(/|$)'
local word shown=''
for word in ${1//_/ }; do
word=${word,,} shown+=${word^}
done
[[ ${!1} != *'{queue}'* || -n ${mail[queue_key]} ]] ||
fail "$shown holds {queue}, and the parameter Queues names this job's queue by an alias. Name the queue by its key in Queues, or write a name without {queue}"
[[ ${!1} != *'{queue}'* || ${mail[queue_key]} =~ $key ]] ||
fail "$shown cannot name a parameter of queue ${mail[queue_key]}: give the queue a key of letters, digits and ._-"
[[ $2 =~ $whole && ! $2 =~ $dots ]] ||
fail "$shown names parameter $2, which a shell or a path could misread: use letters, digits and ._- between single slashes"
}
parameter_of() {
local name=${!1:-}
printf '%s' "${name//'{queue}'/"${mail[queue_key]}"}"
}
read_values() {
local left=$1 rest='' gap raw backslashes key='' name='' text='' colon='^[[:space:]]*:[[:space:]]*$'
while to_quote; do
gap=$before
[[ $gap != *'}'* ]] || keep_value
raw=
while to_quote; do
raw+=$before
backslashes=${before##*[!\\]}
((${#backslashes} % 2)) || break
raw+='"'
done
if [[ ! $gap =~ $colon ]]; then
key=$raw
elif [[ $key == Name ]]; then
unescape "$raw" && name=$field
elif [[ $key == Value ]]; then
text=$raw
fi
done
keep_value
}
to_quote() {
before=
while
more
[[ $rest != *'"'* ]]
do
before+=$rest rest=
[[ -n $left ]] || return 1
done
before+=${rest%%'"'*} rest=${rest#*'"'}
}
keep_value() {
[[ -n $name ]] || return 0
unescape "$text" || refuse "$name" "$(lines_in "$field")" "holds a NUL character, which no program can be given"
value[${name#/}]=$field
name='' text=''
}
lines_in() {
local ends=${1//[!$'\n']/}
printf '%d' $((${#ends} + 1))
}
refuse() { fail "parameter $1, line $2 $3"; }
in_lines() {
text=${1//$'\r\n'/$'\n'}
[[ -z $text || $text == *$'\n' ]] || text+=$'\n'
}
check_lines() {
local line number=0
while IFS= read -r line; do
number=$((number + 1))
[[ -z $line || $line == '#'* ]] && continue
[[ $line =~ $3 ]] || refuse "$1" "$number" "is not $2"
"${4:-true}" "$1" "$number" "$line"
done <<<"${text%$'\n'}"
}
job_variables=()
ENVIRONMENT_LINE='^[A-Za-z_][A-Za-z0-9_]*='
SHELLS_OWN='^(BASH_VERSINFO|EUID|PPID|UID)$'
CONTROLS='^(LD_.*|PATH|ENV|BASH_ENV|BASHOPTS|SHELLOPTS|BUILDKITE|BUILDKITE_.*|AGENT_STACK_.*)$'
check_variable() {
local name=${3%%=*}
[[ ! $name =~ $SHELLS_OWN ]] || refuse "$1" "$2" "names a variable of the shell's own: $name. Remove the line"
[[ ! $name =~ $CONTROLS || $name == BUILDKITE_ANALYTICS_* ]] || refuse "$1" "$2" \
"names $name, which controls how programs, the agent or its hooks run. Give the variable another name"
job_variables+=("$name")
}
CREDENTIAL_LINE='^https?://[^@[:space:]]+@[^[:space:]]+$'
read_job_environment() {
in_lines "$2"
job_variables=()
check_lines "$1" "NAME=value" "$ENVIRONMENT_LINE" check_variable
}
read_git_credentials() {
in_lines "$2"
check_lines "$1" "https://user:token@host" "$CREDENTIAL_LINE"
}
read_git_ssh_key() {
in_lines "$2"
[[ $text == '-----BEGIN '*'-----'$'\n'* ]] || refuse "$1" 1 "does not begin a private key (-----BEGIN … PRIVATE KEY-----)"
}
read_jwks() {
local jwks='^[[:space:]]*[{].*"keys"'
text=$2
[[ $text =~ $jwks ]] || refuse "$1" 1 'does not begin a set of keys ({"keys": […]})'
}
one_word() {
local word='^[[:space:]]*([!-~]+)[[:space:]]*$'
[[ $1 =~ $word ]] && text=${BASH_REMATCH[1]}
}
fetch() {
local actual shown=${1%%\?*}
download "$1" "$3" || fail "cannot download $shown: $error"
[[ -n $2 ]] || return 0
actual=$(sha256sum <"$3")
[[ ${actual%% *} == "$2" ]] || fail "${4:+$shown has the digest ${actual:0:12}..., }${4:-checksum of $shown does not match}"
}
download() {
local until tries=0 over='^(https://|s3://|http://127\.[0-9.]+[:/])'
[[ $1 =~ $over ]] || { error='it is not https' && return 1; }
tick
until=$((now + ${DOWNLOAD_SECONDS:-180}))
while :; do
tries=$((tries + 1))
if get "$1" "$2.part" $((until - now)); then
mv "$2.part" "$2"
return
fi
rm -f "$2.part"
[[ $status != 4?? || $status == 408 || $status == 429 ]] || return 1
[[ $curl_code != 23 ]] || return 1
[[ $curl_code != 1 ]] || return 1
[[ $curl_code != 63 ]] || return 1
tick
((now < until)) || return 1
pause "$tries" "$((until - now))"
tick
done
}
get() {
local signature=''
if [[ $1 == s3://* ]]; then
refresh_keys || { status='' curl_code=0 error='no role keys from instance metadata' && return 1; }
signature="url = \"${endpoint[s3]}/${1#s3://}\"
aws-sigv4 = \"aws:amz:$DEPLOYMENT_REGION:s3\"
user = \"$key:$secret\"
header = \"X-Amz-Security-Token: $session\"
header = \"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\""
else
signature="url = \"$1\"
location
proto-redir = \"=https\""
fi
status='' trouble='no room for the request' curl_code=0
request <<CONFIG
$signature
connect-timeout = 5
max-time = $3
speed-limit = 1
speed-time = 20
remote-time
${largest:+max-filesize = $largest}
output = "$2"
CONFIG
error="$status $trouble"
((curl_code == 0)) && [[ $status == 200 ]]
}
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
tell_lacks() {
local line
[[ -r $PROGRAMS/lacks ]] || return 0
while IFS= read -r line; do
say "$line"
done <"$PROGRAMS/lacks"
}
read_facts() {
local pair
facts=()
for pair in instance-id=instanceId instance-type=instanceType ami-id=imageId availability-zone=availabilityZone; do
! json "$document" "${pair#*=}" || facts+=("aws:${pair%%=*}=$field")
done
! imds meta-data/instance-life-cycle || facts+=("aws:instance-life-cycle=$answer")
}
spare_units() {
command -v apt-get >/dev/null || return 0
install -D -m 0644 /dev/stdin /etc/needrestart/conf.d/agent-stack.conf \
<<<"\$nrconf{override_rc}{qr(^agent-stack-)} = 0;"
systemctl stop apt-daily.timer apt-daily-upgrade.timer || true
}
ensure_user() {
id "$AGENT_USER" >/dev/null 2>&1 ||
useradd --system --user-group --create-home --home-dir /var/lib/buildkite-agent --shell /bin/bash "$AGENT_USER"
install -d -m 0755 -o "$AGENT_USER" -g "$AGENT_USER" "$STATE/builds" "$STATE/plugins"
}
run_bootstrap() {
local code=0 class=''
[[ -n ${BOOTSTRAP_URL:-} ]] || return 0
report preparing "bootstrap script" 3
! imds meta-data/tags/instance/agent-stack:class || class=${answer%%/*}
[[ -n $class || $BOOTSTRAP_URL != *'{class}'* ]] || fail "BootstrapUrl names {class}, and the VM's tags do not say it"
fetch "${BOOTSTRAP_URL//'{class}'/$class}" "${BOOTSTRAP_SHA256:-}" "$STATE/bootstrap"
chmod 0700 "$STATE/bootstrap"
(
echo 0 >/proc/self/oom_score_adj || true
export AGENT_STACK_CLASS=$class AGENT_STACK_ENVIRONMENT=$STATE/agent-settings
umask 022 && HOME=/root exec setsid -w timeout --kill-after=5 "${BOOTSTRAP_TIMEOUT_SECONDS:-240}" "$STATE/bootstrap" </dev/null
) || code=$?
((code == 0)) || fail "bootstrap script ended with code $code"
}
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
DIGESTS
}
agent_digest() {
local version machine digest
while read -r version machine digest; do
[[ $version != "$1" || $machine != "$2" ]] || printf '%s' "$digest"
done < <(agent_digests)
}
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
read -r expected _ <"$agent.sha256" || true
[[ $expected =~ ^[0-9a-f]{64}$ ]] || fail "checksum of $url is not published"
fi
fetch "$url" "$expected" "$agent.new" "$known"
chmod 0755 "$agent.new"
mv "$agent.new" "$agent"
}
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
#!/usr/bin/env bash
agent_stack_run() { setsid -w timeout --kill-after=2 "$@"; }
agent_stack_spare_the_agent_only() {
local pid=$$ parent adjusted
while read -r adjusted <"/proc/$pid/oom_score_adj" && ((adjusted < 0)); do
parent=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
{ read -r adjusted <"/proc/$parent/oom_score_adj" && ((adjusted < 0)); } || break
echo 0 >"/proc/$pid/oom_score_adj" || break
pid=$parent
done
} 2>/dev/null
agent_stack_spare_the_agent_only
if [[ -n ${AGENT_STACK_PRIVATE:-} ]]; then
if [[ -f $AGENT_STACK_PRIVATE/environment ]]; then
while IFS= read -r agent_stack_line; do
[[ ! $agent_stack_line =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] || export "${agent_stack_line?}"
done <"$AGENT_STACK_PRIVATE/environment"
unset agent_stack_line
fi
if [[ -S $AGENT_STACK_PRIVATE/ssh && -z ${GIT_SSH_COMMAND:-}${GIT_SSH:-} ]]; then
export GIT_SSH_COMMAND='ssh -o BatchMode=yes'
fi
if [[ -d $AGENT_STACK_PRIVATE/docker ]]; then
if [[ ! -f ${DOCKER_CONFIG:-$HOME/.docker}/config.json ]]; then
mkdir -p "${DOCKER_CONFIG:-$HOME/.docker}" &&
cp "$AGENT_STACK_PRIVATE/docker/config.json" "${DOCKER_CONFIG:-$HOME/.docker}/config.json"
elif [[ $(<"${DOCKER_CONFIG:-$HOME/.docker}/config.json") != "$(<"$AGENT_STACK_PRIVATE/docker/config.json")" ]]; then
agent_stack_line=$(<"$AGENT_STACK_PRIVATE/docker/config.json")
while [[ $agent_stack_line =~ \"([^\"]+)\":\{\"auth\":\"([^\"]+)\"(.*) ]]; do
agent_stack_name=${BASH_REMATCH[1]} agent_stack_line=${BASH_REMATCH[3]}
agent_stack_login=$(base64 -d <<<"${BASH_REMATCH[2]}")
agent_stack_run 20 docker login --username "${agent_stack_login%%:*}" --password-stdin "$agent_stack_name" \
>/dev/null 2>&1 < <(printf '%s' "${agent_stack_login#*:}") ||
echo "agent-stack: docker could not be logged in to $agent_stack_name" >&2
done
unset agent_stack_line agent_stack_name agent_stack_login
fi
fi
fi
if [[ -n ${AGENT_STACK_ARTIFACT_BUCKET:-} && -z ${BUILDKITE_ARTIFACT_UPLOAD_DESTINATION:-} ]]; then
export BUILDKITE_S3_ACL=${BUILDKITE_S3_ACL:-bucket-owner-full-control}
BUILDKITE_ARTIFACT_UPLOAD_DESTINATION=s3://$AGENT_STACK_ARTIFACT_BUCKET
BUILDKITE_ARTIFACT_UPLOAD_DESTINATION+=/$BUILDKITE_PIPELINE_ID/$BUILDKITE_BUILD_ID/$BUILDKITE_JOB_ID
export BUILDKITE_ARTIFACT_UPLOAD_DESTINATION
fi
if [[ -n ${AGENT_STACK_JOB_AWS:-} && -f ${BASH_SOURCE%/*}/../agent-stack-aws ]]; then
agent_stack_ended=killed
while IFS= read -r -d '' agent_stack_line; do
agent_stack_name=${agent_stack_line%%=*}
if [[ $agent_stack_line != *=* ]]; then
agent_stack_ended=${agent_stack_line:-killed}
elif [[ ! -v $agent_stack_name || $agent_stack_name == GIT_CONFIG_* ]]; then
export "${agent_stack_line?}"
fi
done < <(agent_stack_run 150 bash "${BASH_SOURCE%/*}/../agent-stack-aws" main "$PPID" </dev/null &&
printf '\0000\0' || printf '\000%s\0' "$?")
if [[ -f ${AGENT_STACK_PRIVATE%/*}/aws/env ]]; then
set -a
source "${AGENT_STACK_PRIVATE%/*}/aws/env"
set +a
fi
case $agent_stack_ended in
0 | 1) ;;
124) echo "agent-stack: AWS access was not ready after 150 s: Buildkite or AWS answered too slowly" >&2 ;;
*) echo "agent-stack: what prepares AWS access was ended ($agent_stack_ended)" >&2 ;;
esac
if [[ $agent_stack_ended != 0 && $AGENT_STACK_JOB_AWS != *'|||'* ]]; then
echo "agent-stack: the job ends, because it would run without the secrets of its pipeline" >&2
exit 1
fi
unset agent_stack_line agent_stack_name agent_stack_ended
fi
unset -f agent_stack_run agent_stack_spare_the_agent_only
if [[ -f ${BASH_SOURCE%/*}/environment.operator ]]; then
source "${BASH_SOURCE%/*}/environment.operator"
fi
HOOK
}
pre-exit_hook() {
cat <<'HOOK'
#!/usr/bin/env bash
if [[ -n ${AGENT_STACK_PRIVATE:-} && -f ${AGENT_STACK_PRIVATE%/*}/spot-notice ]]; then
echo "+++ EC2 takes this VM back (spot interruption)"
echo "The job was stopped. A retry rule of its pipeline with signal_reason agent_stop runs it again on another VM."
fi
if [[ -n ${AGENT_STACK_PRIVATE:-} && -s ${AGENT_STACK_PRIVATE%/*}/aws/renewal ]]; then
cat "${AGENT_STACK_PRIVATE%/*}/aws/renewal"
fi
if [[ -f ${BASH_SOURCE%/*}/pre-exit.operator ]]; then
source "${BASH_SOURCE%/*}/pre-exit.operator"
fi
HOOK
}
MIRRORS=$STATE/git-mirrors
MIRROR_SECONDS=120
MIRROR_BYTES=$((10 << 30))
mirrors_said=''
mirrors_there=0
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
rm -rf "$STATE/seeds/seed" "$STATE/seeds/seed.part" "$MIRRORS/.seed"
done
mirrors_said="(mirrors $mirrors_there/$wanted ${oldest:-0} s) $trouble_said"
}
seed_mirror() {
local name=${1//[^A-Za-z0-9]/-} DOWNLOAD_SECONDS=0 seed=$STATE/seeds/seed ending room code=0 largest
command -v git >/dev/null || { error='there is no git on this VM: add git to Packages' && return 1; }
tick
began=$now DOWNLOAD_SECONDS=$((until - now))
((DOWNLOAD_SECONDS > 0)) || { error="the $MIRROR_SECONDS s for mirrors are over" && return 1; }
room=$(df --output=avail -B1 "$STATE" | tail -n 1)
largest=$((room / 3 < MIRROR_BYTES ? room / 3 : MIRROR_BYTES))
for ending in tar tar.gz; do
download "s3://$GIT_MIRROR_SEED_BUCKET/git-mirror-seeds/$name.$ending" "$seed" && break
[[ $status == 40[34] ]] || return 1
[[ $ending == tar ]] || { error="there is no seed git-mirror-seeds/$name.tar or .tar.gz in $GIT_MIRROR_SEED_BUCKET that this VM may read" && return 1; }
done
chmod 0644 "$seed"
age=$(($(date +%s) - $(stat -c %Y "$seed")))
tick
unpack_as_the_job "$name" "$1" "$seed" "$ending" || code=$?
tick
[[ $code != 0 || ! -f $MIRRORS/$name/HEAD ]] || return 0
error=$(tail -n 1 "$STATE/seeds/said" 2>/dev/null)
error="its seed is refused: ${error:-it took longer than $((until - began)) s or more memory than half of the VM (code $code)}"
return 1
}
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
refuse_seed() {
printf '%s\n' "$*"
exit 1
}
unpack_seed() {
local place=$1 name=$2 scratch found
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME=/nonexistent
cd "$place"
rm -rf .seed && mkdir .seed && cd .seed
mkdir scratch
if [[ $5 == tar ]]; then
(($(stat -c %s "$4") <= $6)) || refuse_seed "it has more than $6 bytes"
tar -xf "$4" -C scratch --no-same-owner --no-same-permissions >tar.said 2>&1 || refuse_seed "$(head -n 1 tar.said)"
else
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
[[ $name =~ $loose ]] || continue
mkdir -p "mirror/objects/${name%/*}"
mv "$file" "mirror/objects/$name"
found=1
done < <(find "$1" -mindepth 2 -maxdepth 2 -type f -print0)
((!found)) || git -C mirror fsck --no-full --no-dangling --no-reflogs --no-progress >git.said 2>&1 ||
refuse_seed "objects: $(head -n 1 git.said)"
}
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
stand_by() {
[[ $hold =~ ^[1-9][0-9]{0,6}$ ]] || fail "tag agent-stack:hold is not a number of seconds"
arm_lifetime agent-stack-standby "$((hold + MAX_LIFETIME_SECONDS))" agent-stack-lifetime
prepare
say "stands by"
ship_logs "$SHIP_SECONDS"
await_job
arm_lifetime agent-stack-job "$MAX_LIFETIME_SECONDS" agent-stack-standby
read_mailbox
}
arm_lifetime() {
systemd-run -q -u "$1" --on-active="$2s" --timer-property=AccuracySec=1s systemctl poweroff ||
fail "lifetime timer cannot be armed"
systemctl stop "$3.timer" || say "timer $3 cannot be stopped"
}
told_that_it_lives=0
tell_that_it_lives() {
[[ -n $hold ]] && ((!told_that_it_lives)) || return 0
told_that_it_lives=1
report booting "" 3
}
await_job() {
local told='' watched=-1000 ending=''
while :; do
tick
if ((now - ${BORN:-0} >= hold)); then
ending="no job within $hold s"
elif ((now - watched >= ${SPOT_POLL_SECONDS:-5})); then
watched=$now
! imds meta-data/spot/instance-action || ending="spot notice: $answer"
fi
if look "$([[ -n $ending ]] && echo true || echo false)"; then
if [[ $answer == *'"job_id"'* ]]; then
[[ $ending != spot* ]] || fail "EC2 takes the VM back ($ending)"
return 0
fi
[[ $answer != *'"Item"'* ]] || ending=${ending:-closed: this VM is not needed any more}
elif [[ $error != "$told" ]]; then
told=$error
say "mailbox cannot be read: $error"
fi
if [[ -n $ending ]]; then
say "$ending"
exit 0
fi
sleep 0.2
done
}
fetch_private() {
install -d -m 0700 -o "$AGENT_USER" -g "$AGENT_USER" "$PRIVATE"
read_parameters
load_git_ssh_key
leave GIT_CREDENTIALS_PARAMETER read_git_credentials git-credentials
[[ -z ${GIT_CREDENTIALS_PARAMETER:-} ]] || set_git_helper
leave JOB_ENVIRONMENT_PARAMETER read_job_environment environment
leave SIGNING_KEY_PARAMETER read_jwks signing-key.json
leave VERIFICATION_KEY_PARAMETER read_jwks verification-key.json
if [[ ${mail[credential_kind]} == agent-token ]]; then
local name
name=$(parameter_of AGENT_TOKEN_PARAMETER)
one_word "${value[${name#/}]:-}" || fail "parameter $name holds no agent token: one word, no quotes"
agent_token=$text
fi
load_docker_logins
}
leave() {
local name text=''
name=$(parameter_of "$1")
[[ -n $name ]] || return 0
"$2" "$name" "${value[${name#/}]}"
printf '%s' "$text" | install -m 0600 -o "$AGENT_USER" -g "$AGENT_USER" /dev/stdin "$PRIVATE/$3"
}
load_git_ssh_key() {
local name text='' until socket=$PRIVATE/ssh
name=$(parameter_of GIT_SSH_KEY_PARAMETER)
[[ -n $name ]] || return 0
read_git_ssh_key "$name" "${value[${name#/}]}"
command -v ssh-agent >/dev/null || fail "parameter $name needs ssh-agent, which is not installed"
systemd-run -q -u agent-stack-ssh -p User="$AGENT_USER" -p OOMPolicy=continue -p OOMScoreAdjust=-900 -p LimitCORE=0 \
ssh-agent -D -P none -a "$socket" || fail "ssh-agent cannot be started"
tick
until=$((now + 10))
until [[ -S $socket ]]; do
tick
((now < until)) || fail "ssh-agent does not answer"
sleep 0.1
done
printf '%s' "$text" | SSH_AUTH_SOCK=$socket SSH_ASKPASS_REQUIRE=never DISPLAY='' \
timeout --kill-after=2 10 setsid -w ssh-add -q - >/dev/null 2>&1 ||
fail "parameter $name holds a private key that is damaged or has a passphrase"
git_ssh_socket=$socket
}
set_git_helper() {
command -v git >/dev/null || return 0
(umask 022 && git config --system --add credential.helper "store --file=$PRIVATE/git-credentials") ||
fail "git's system configuration cannot be written"
}
DOCKER=${DOCKER_DIRECTORY:-/etc/docker}
declare -gA logins=()
LOGIN_LINE='^https://([^:@[:space:]]+):(.+)@([A-Za-z0-9.-]+(:[0-9]{1,5})?)/?$'
HUB=https://index.docker.io/v1/
configure_mirrors() {
local mirror mirrors=${DOCKER_MIRRORS:-} urls='' hosts='' file=$DOCKER/daemon.json settings='' home
for mirror in ${mirrors//,/ }; do
mirror=${mirror%/}
urls+=,\"$mirror\" hosts+=,\"${mirror#https://}\"
done
[[ -n $urls ]] || return 0
[[ ! -f $file ]] || settings=$(<"$file")
if [[ $settings == *'"registry-mirrors"'* ]]; then
say "DockerRegistryMirrors: $file names registry-mirrors of its own, and they stay"
elif [[ ! ${settings:-'{}'} =~ ^[[:space:]]*\{[[:space:]]*(.*)$ ]]; then
say "DockerRegistryMirrors: $file holds no JSON object, so docker gets no mirror. Correct what writes it"
else
settings=${BASH_REMATCH[1]}
[[ $settings == '}'* ]] || settings=,$settings
install -D -m 0644 /dev/stdin "$file" <<<"{\"registry-mirrors\":[${urls#,}]$settings"
! systemctl is-active --quiet docker || timeout 30 systemctl reload docker ||
say "DockerRegistryMirrors: docker could not be reloaded, so it pulls without mirrors"
fi
users_home
[[ ! -e $home/.docker/buildx/buildkitd.default.toml ]] || return 0
install -d -m 0700 -o "$AGENT_USER" -g "$AGENT_USER" "$home/.docker" "$home/.docker/buildx"
printf '[registry."docker.io"]\n  mirrors = [%s]\n' "${hosts#,}" |
install -m 0644 -o "$AGENT_USER" -g "$AGENT_USER" /dev/stdin "$home/.docker/buildx/buildkitd.default.toml"
}
users_home() {
home=$(getent passwd "$AGENT_USER" | cut -d: -f6) && [[ $home == /* ]] || fail "user $AGENT_USER has no home directory"
}
read_docker_logins() {
in_lines "$2"
check_lines "$1" "https://user:password@registry" "$LOGIN_LINE" keep_login
}
keep_login() {
[[ $3 =~ $LOGIN_LINE ]]
local registry=${BASH_REMATCH[3]}
case $registry in docker.io | index.docker.io | registry-1.docker.io) registry=$HUB ;; esac
logins[$registry]=$(printf '%s:%s' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" | base64 | tr -d '\n')
}
load_docker_logins() {
local name text
name=$(parameter_of DOCKER_LOGINS_PARAMETER)
[[ -z $name ]] || read_docker_logins "$name" "${value[${name#/}]}"
[[ ${ECR_LOGIN:-} != account ]] || log_in_to_ecr
leave_docker_logins
}
log_in_to_ecr() {
tell_that_it_lives
aws ecr AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken '{}' 60 ||
fail "registry login cannot be had: $error"
local login='' base64='^[A-Za-z0-9+/=]+$' registry='^https://[A-Za-z0-9.:-]+$' account accounts=${ECR_ACCOUNTS:-}
json "$answer" authorizationToken && login=$field
json "$answer" proxyEndpoint && [[ $login =~ $base64 && $field =~ $registry ]] ||
fail "registry login cannot be had: the answer holds no login"
field=${field#https://}
logins[$field]=$login
for account in ${accounts//,/ }; do
logins[$account.${field#*.}]=$login
done
}
leave_docker_logins() {
local auths='' home registry
((${#logins[@]})) || return 0
while IFS= read -r registry; do
auths+=",\"$registry\":{\"auth\":\"${logins[$registry]}\"}"
done < <(printf '%s\n' "${!logins[@]}" | sort)
install -d -m 0700 -o "$AGENT_USER" -g "$AGENT_USER" "$PRIVATE/docker"
printf '{"auths":{%s}}\n' "${auths#,}" |
install -m 0600 -o "$AGENT_USER" -g "$AGENT_USER" /dev/stdin "$PRIVATE/docker/config.json"
users_home
[[ ! -f $home/.docker/config.json ]] || return 0
SECRETS+=("$home/.docker/config.json")
install -d -m 0700 -o "$AGENT_USER" -g "$AGENT_USER" "$home/.docker"
install -m 0600 -o "$AGENT_USER" -g "$AGENT_USER" "$PRIVATE/docker/config.json" "$home/.docker/config.json"
}
SSH=${SSH_DIRECTORY:-/etc/ssh}
shipped_host_keys() {
cat <<'KEYS'
github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl
github.com ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=
gitlab.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfuCHKVTjquxvt6CM6tdG4SLp1Btn/nOeHHE5UOzRdf
gitlab.com ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBFSMqzJeV9rUzU4kWitGjeR4PWSa29SPqJ1fVkhtj3Hw9xjLVXVYrU9QlYWrOLXBpQ6KWjbjTDTdDkoohFzgbEY=
bitbucket.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIazEu89wgQZ4bqs3d63QSMzYVa0MuJ2e2gKTKqu+UUO
bitbucket.org ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBPIQmuzMBuKdWeF4+a2sjSSpBK0iqitSQ+5BM9KhpexuGt20JpTVM7u5BDZngncgrqDMbWdxMWWOGtZ9UgbqgZE=
KEYS
}
HOST_KEY_LINE='^[]A-Za-z0-9.,:*?[_-]+ (ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) AAAA[A-Za-z0-9+/]+=*( .*)?$'
write_known_hosts() {
local keys='' hosts='' number=0 own='' line host names
text=$(printf '%s' "${GIT_KNOWN_HOSTS:-}" | base64 -d && printf .) || fail "GIT_KNOWN_HOSTS is not base64"
text=${text%.}
in_lines "${text//;/$'\n'}"
while read -r line; do
number=$((number + 1))
[[ -z $line || $line == '#'* ]] && continue
[[ $line =~ $HOST_KEY_LINE ]] ||
refuse GitKnownHosts "$number" "is not host, type and key, as a known_hosts file has them. Write hosts unhashed"
keys+=$line$'\n'
hosts+=${line%% *},
done <<<"${text%$'\n'}"
while read -r line; do
[[ $line == '#'* || ,$hosts == *",${line%% *},"* ]] || keys+=$line$'\n'
done < <(shipped_host_keys)
install -D -m 0644 /dev/stdin "$SSH/ssh_known_hosts2" <<<"$keys"
hosts=
while read -r line; do
IFS=, read -ra names <<<"${line%% *}"
for host in "${names[@]}"; do
host=${host#[} host=${host%%]*}
[[ " $hosts " == *" $host "* ]] || hosts+=${hosts:+ }$host
done
done <<<"${keys%$'\n'}"
install -D -m 0644 /dev/stdin "$SSH/ssh_config.d/00-agent-stack.conf" <<CONFIG
Host $hosts
StrictHostKeyChecking yes
CONFIG
[[ ! -f $SSH/ssh_config ]] || own=$(<"$SSH/ssh_config") || fail "$SSH/ssh_config cannot be read"
install -m 0644 /dev/stdin "$SSH/ssh_config" <<CONFIG
Include $SSH/ssh_config.d/00-agent-stack.conf
$own
Host *
StrictHostKeyChecking accept-new
CONFIG
}
JOB_PROGRAM=${HOOKS%/*}/agent-stack-aws
SHARED=(
tick pause backoff within request json unescape more utf8 sign sha256 hex hmac octets aws
read_values to_quote keep_value lines_in refuse
)
install_job_access() {
local service url
[[ -n ${JOB_AWS//|/} ]] || return 0
for service in sts secretsmanager; do
url=AWS_ENDPOINT_URL_${service^^}
endpoint[$service]=${!url:-${endpoint[ssm]/ssm/$service}} version[$service]=1.1
done
install -d -m 0700 -o "$AGENT_USER" -g "$AGENT_USER" "$RUN/aws"
{
printf '#!/usr/bin/env bash\n'
declare -p endpoint version curl_signs DEPLOYMENT_REGION SHELLS_OWN CONTROLS
declare -f "${SHARED[@]}"
job_program
} | install -m 0644 /dev/stdin "$JOB_PROGRAM"
}
job_program() {
cat <<'PROGRAM'
#!/usr/bin/env bash
set -euo pipefail
umask 077
PLACE=${AGENT_STACK_PRIVATE%/*}/aws
TOKEN=$PLACE/token
LIFETIME=3600
RENEW=1200
RENEW_FAILED=60
REQUEST=45
TAGS=organization_id,organization_slug,pipeline_id,pipeline_slug,build_id,job_id,cluster_id,queue_key
[[ ! ${BUILDKITE_BRANCH:-} =~ ^[A-Za-z0-9_.:/=+@-]{1,256}$ ]] || TAGS+=,build_branch
SESSION=buildkite-job-${BUILDKITE_JOB_ID:-}
PIPELINE=${BUILDKITE_PIPELINE_ID:-}
IFS='|' read -r ROLE SECRETS_PATH SECRETS_BUCKET CACHE_BUCKET <<<"${AGENT_STACK_JOB_AWS:-|||}"
declare -A value=() signing=() taken=()
while read -r name; do taken[$name]=1; done < <(compgen -e)
answer='' error='' status='' served_at='' trouble='' curl_code=0 keys_at=-1000 clock_set=0 tries=0 field='' now=0 uptime=0
key='' secret='' session='' token='' wrong=0 refused=0 deadline=''
keys_from=STS sts_said=''
say() { printf 'agent-stack: %s\n' "$*" >&2; }
fail() {
say "$1"
exit 1
}
give() {
printf '%s=%s\0' "$1" "$2"
taken[$1]=1
}
request_token() {
local subject=${BUILDKITE_OIDC_TOKEN_SUBJECT_CLAIM-organization_id} tags=${BUILDKITE_OIDC_TOKEN_AWS_SESSION_TAGS:-$TAGS}
token=$(timeout --kill-after=2 "$REQUEST" buildkite-agent oidc request-token --audience sts.amazonaws.com \
--lifetime "$LIFETIME" ${subject:+--subject-claim "$subject"} --aws-session-tag "$tags" </dev/null 2>"$PLACE/said") || {
error=$(tail -n 1 "$PLACE/said" 2>/dev/null)
[[ -n $error ]] || error="no answer within $REQUEST s"
return 1
}
[[ $token =~ ^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$ ]] || { error='what the agent printed is no token' && return 1; }
}
keep_token() {
error="$TOKEN cannot be written"
if [[ -f $TOKEN ]]; then
printf '%s' "$token" 1<>"$TOKEN" && truncate -s "${#token}" "$TOKEN"
else
printf '%s' "$token" >"$TOKEN.new" && mv -T "$TOKEN.new" "$TOKEN"
fi 2>/dev/null
}
renew() {
local wait=$RENEW code
[[ -f $TOKEN ]] || wait=$RENEW_FAILED
while :; do
timeout "$wait" tail --pid="$1" -f /dev/null && return
code=$?
if ((code != 124)); then
kill -0 "$1" 2>/dev/null || return 0
sleep "$wait" || { left "is renewed no more: neither tail nor sleep waits" && return 1; }
fi
wait=$RENEW
request_token && keep_token && continue
wait=$RENEW_FAILED
left "could not be renewed: $error"
done
}
left() { printf 'agent-stack: %(%H:%M:%S)T: the token for AWS %s\n' -1 "$1" >>"$PLACE/renewal"; }
has_credentials() {
local name
for name in AWS_ACCESS_KEY_ID AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SHARED_CREDENTIALS_FILE AWS_WEB_IDENTITY_TOKEN_FILE \
AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_CREDENTIALS_RELATIVE_URI; do
[[ ! -v $name ]] || return 0
done
return 1
}
refresh_keys() {
local form='Action=AssumeRoleWithWebIdentity&Version=2011-06-15&DurationSeconds=900' name most
local -A found=()
tick
((now - keys_at > 600)) || return 0
within 10 || { trouble="$sts_said; no time is left" && return 1; }
request <<CONFIG
url = "${endpoint[sts]}/"
max-time = $most
data = "$form"
data-urlencode = "RoleArn=$ROLE"
data-urlencode = "RoleSessionName=$SESSION"
data = "WebIdentityToken=$token"
CONFIG
for name in AccessKeyId SecretAccessKey SessionToken Message; do
[[ ! $answer =~ \<$name\>([^\<]+)\< ]] || found[$name]=${BASH_REMATCH[1]}
done
trouble="for $ROLE: ${found[Message]:-$trouble}"
[[ $status != 4?? ]] || trouble+=". Run agent-stack oidc, and compare the role's trust policy with agent-stack oidc trust"
sts_said=$trouble
[[ $status == 200 ]] && key=${found[AccessKeyId]} secret=${found[SecretAccessKey]} session=${found[SessionToken]} keys_at=$now
}
declare -A secrets=()
VARIABLE='^[A-Za-z_][A-Za-z0-9_]*$'
MANAGER=/aws/reference/secretsmanager/
ALIASES=agent-stack-aliases
read_secrets() {
local id=$PIPELINE name body next='' page
if [[ $SECRETS_PATH == "$MANAGER"* ]]; then
name=${SECRETS_PATH#"$MANAGER"}/$id
ask secretsmanager secretsmanager.GetSecretValue "{\"SecretId\":\"$name\"}" ||
{ nothing_there "secret $name" && return; }
json "$answer" SecretString || fail "secret $name holds bytes, and no text. Store it as text"
read_pairs "secret $name" "$field" || fail "$error"
return
fi
for ((page = 1; ; page++)); do
body="{\"Path\":\"$SECRETS_PATH/$id\",\"WithDecryption\":true,\"MaxResults\":10$next}"
ask ssm AmazonSSM.GetParametersByPath "$body" || fail "secrets under $SECRETS_PATH/$id cannot be read: $error"
read_values "$answer"
json "$answer" NextToken || break
((page < 20)) || fail "more than 200 parameters are under $SECRETS_PATH/$id. Put several into one, or use Secrets Manager"
next=",\"NextToken\":\"${field//\"/}\""
done
for name in "${!value[@]}"; do
keep_secret "${name#"${SECRETS_PATH#/}/$id/"}" "${value[$name]}"
done
((${#secrets[@]})) || say "no parameter is under $SECRETS_PATH/$id"
}
read_aliases() {
local names name whole='^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$' dots='(^|/)\.+(/|$)'
local -A own=()
[[ -v secrets[$ALIASES] ]] || return 0
IFS=$', \t\n' read -r -d '' -a names <<<"${secrets[$ALIASES]}" || true
unset "secrets[$ALIASES]"
for name in "${!secrets[@]}"; do own[$name]=${secrets[$name]}; done
for name in "${names[@]}"; do
if [[ $name =~ $whole && ! $name =~ $dots ]]; then
read_alias "$name"
else
say "alias ${name@Q} is left out: write letters, digits and ._- between single slashes into $ALIASES"
fi
done
for name in "${!own[@]}"; do secrets[$name]=${own[$name]}; done
}
read_alias() {
local name=$SECRETS_PATH/$1
if [[ $name == "$MANAGER"* ]]; then
name=${name#"$MANAGER"}
if ask secretsmanager secretsmanager.GetSecretValue "{\"SecretId\":\"$name\"}"; then
error='it holds bytes, and no text'
json "$answer" SecretString && read_pairs "secret $name" "$field" || say "alias $1 is left out: $error"
return
fi
elif ask ssm AmazonSSM.GetParameter "{\"Name\":\"$name\",\"WithDecryption\":true}"; then
read_values "$answer"
keep_secret "${1##*/}" "${value[${name#/}]-}"
return
fi
((refused)) || fail "secret $name cannot be read: $error"
if [[ $error =~ ^(AccessDenied|ParameterNotFound|ResourceNotFound) ]]; then
say "alias $1 is left out: secret $name is not there, or its tag agent-stack:pipelines lacks $PIPELINE." \
"Correct the tag, or take $1 out of $ALIASES. AWS says $error"
else
say "alias $1 is left out: AWS says of secret $name: $error"
fi
}
ask() {
local busy='^429|Throttl|Exceeded|ExpiredToken|UnrecognizedClient'
aws "$1" "$2" "$3" "${PATIENCE_SECONDS:-60}" && return
refused=0
[[ $status != 4?? || "$status $error" =~ $busy ]] || refused=1
json "$answer" message || json "$answer" Message || field=$trouble
error="$error: $field"
return 1
}
nothing_there() {
[[ $error == ResourceNotFound* ]] || fail "$1 cannot be read: $error"
say "$1 is not there"
}
read_pairs() {
local rest=$2 raw gap opened closed backslashes name='' named=0 depth=0 object='^[[:space:]]*\{' colon='^[[:space:]]*:'
[[ $rest =~ $object ]] || { error="$1 is no JSON object, such as {\"NAME\": \"value\"}" && return 1; }
while [[ $rest == *'"'* ]]; do
gap=${rest%%'"'*} rest=${rest#*'"'} raw=
opened=${gap//[!\{\[]/} closed=${gap//[!\}\]]/} depth=$((depth + ${#opened} - ${#closed}))
while :; do
raw+=${rest%%'"'*} rest=${rest#*'"'}
backslashes=${raw##*[!\\]}
((${#backslashes} % 2)) || break
raw+='"'
done
((depth == 1)) || continue
if [[ $rest =~ $colon ]]; then
((!named)) || leave_out "$name" "its value in $1 is no text"
unescape "$raw" && name=$field || name=
named=1
elif unescape "$raw"; then
keep_secret "$name" "$field"
named=0
else
leave_out "$name" "its value in $1 holds a NUL character, which no variable can hold"
named=0
fi
done
((!named)) || leave_out "$name" "its value in $1 is no text"
}
keep_secret() {
if [[ $1 == ssh-key || $1 == git-credentials || $1 == "$ALIASES" ]]; then
secrets[$1]=$2
elif [[ ! $1 =~ $VARIABLE ]]; then
leave_out "$1" "its name is none of a variable"
elif [[ $1 =~ $SHELLS_OWN || $1 =~ $CONTROLS && $1 != BUILDKITE_ANALYTICS_* ]]; then
leave_out "$1" "a variable of this name controls how programs, the agent or its hooks run"
else
secrets[$1]=$2
fi
}
leave_out() {
printf -v field %q "$1"
say "secret $field is left out: $2"
}
give_secrets() {
local name text
hide_secrets
for name in "${!secrets[@]}"; do
text=${secrets[$name]//$'\r\n'/$'\n'}
case $name in
ssh-key) load_key "$text" ;;
git-credentials) keep_git_credentials "$text" ;;
*)
if [[ -v taken[$name] ]]; then
leave_out "$name" "the step or the stack sets a variable of this name"
else
give "$name" "${secrets[$name]}"
fi
;;
esac
done
}
hide_secrets() {
local text line listed='' number=0
for text in "${secrets[@]}"; do
while IFS= read -r line; do
line=${line%$'\r'}
((${#line} >= 6)) || continue
in_json "$line"
listed+=",\"$((number += 1))\":\"$field\""
done <<<"$text"
in_json "$text"
listed+=",\"$((number += 1))\":\"$field\""
done
[[ -z $listed ]] || printf '{%s}' "${listed#,}" |
timeout --kill-after=2 20 buildkite-agent redactor add --format json >"$PLACE/said" 2>&1 ||
fail "secrets of this pipeline cannot be hidden in its log: $(tail -n 1 "$PLACE/said")"
}
in_json() {
local code character escaped
field=${1//\\/\\\\} field=${field//\"/\\\"}
for ((code = 1; code < 32; code++)); do
printf -v escaped '%02x' "$code"
printf -v character %b "\\x$escaped"
field=${field//"$character"/"\\u00$escaped"}
done
}
load_key() {
local socket=${SSH_AUTH_SOCK:-}
if [[ ! -S $socket ]]; then
socket=$PLACE/ssh
[[ -S $socket ]] || timeout 10 ssh-agent -a "$socket" </dev/null >/dev/null 2>&1 || {
leave_out ssh-key "no ssh-agent can be started on this VM"
return 0
}
give SSH_AUTH_SOCK "$socket"
fi
[[ -v GIT_SSH_COMMAND || -v GIT_SSH ]] || give GIT_SSH_COMMAND 'ssh -o BatchMode=yes'
printf '%s\n' "${1%$'\n'}" | SSH_AUTH_SOCK=$socket SSH_ASKPASS_REQUIRE=never DISPLAY='' \
timeout --kill-after=2 10 setsid -w ssh-add -q - >/dev/null 2>&1 ||
say "the SSH key of this pipeline is left out: it is damaged or has a passphrase"
}
keep_git_credentials() {
local at=${GIT_CONFIG_COUNT:-0}
printf '%s\n' "${1%$'\n'}" >"$PLACE/git-credentials"
give GIT_CONFIG_COUNT $((at + 1))
give "GIT_CONFIG_KEY_$at" credential.helper
give "GIT_CONFIG_VALUE_$at" "store --file=$PLACE/git-credentials"
}
read_bucket() {
local slug=${BUILDKITE_PIPELINE_SLUG:-} mine
[[ -n $slug ]] || fail 'SecretsBucket: this job names no pipeline (BUILDKITE_PIPELINE_SLUG is empty)'
((!curl_signs)) && fail "SecretsBucket needs curl 7.75 or later on the VM, which signs requests"
list_files "$slug/"
mine=$field
if [[ -z $mine ]]; then
say "SecretsBucket: nothing is under $slug/. A pipeline that was renamed finds its files by the old slug no more"
elif [[ " $mine " != *" $slug/pipeline-id "* ]]; then
say "SecretsBucket: whoever makes a pipeline with the slug $slug gets these secrets. Move them to JobSecretsPath, or put" \
"$PIPELINE into $slug/pipeline-id"
elif ! get_file "$slug/pipeline-id" listed; then
say "SecretsBucket: without $slug/pipeline-id, whose the files under $slug/ are is not known. They are left out"
mine=''
elif [[ ${text//[[:space:]]/} != "$PIPELINE" ]]; then
say "SecretsBucket: the files under $slug/ are those of pipeline ${text//[[:space:]]/}, which had this slug before." \
"They are left out: correct $slug/pipeline-id, or move them to the other pipeline"
mine=''
fi
list_files secret-files/
read_files '' " env environment private_ssh_key git-credentials $field "
[[ -z $mine ]] || read_files "$slug/" " $mine "
}
read_files() {
local name listed
read -ra listed <<<"$2"
for name in env environment; do
! has_file "$1$name" "$2" "$1" || printf '%s\n' "$text" >>"$PLACE/env"
done
! has_file "$1private_ssh_key" "$2" "$1" || secrets[ssh-key]=$text
! has_file "$1git-credentials" "$2" "$1" || secrets[git-credentials]=$text
for name in "${listed[@]}"; do
[[ $name == "$1secret-files/"?* ]] || continue
if [[ ! ${name##*/} =~ $VARIABLE ]]; then
leave_out "${name##*/}" "its name is none of a variable"
elif get_file "$name" listed; then
keep_secret "${name##*/}" "${text%$'\n'}"
fi
done
}
has_file() { [[ $2 == *" $1 "* ]] && get_file "$1" "$3"; }
list_files() {
local rest name names=''
s3 "/$SECRETS_BUCKET?list-type=2&prefix=${1//\//%2F}" || fail "SecretsBucket $SECRETS_BUCKET cannot be listed: $error"
rest=$answer
while [[ $rest == *'<Key>'* ]]; do
rest=${rest#*<Key>} name=${rest%%</Key>*}
[[ $name == *[[:space:]]* ]] || names+=" $name"
done
[[ $answer != *'<IsTruncated>true<'* ]] ||
say "SecretsBucket: more than 1000 files are under $1. The others are left out: move them elsewhere"
field=${names# }
}
get_file() {
text=
if s3 "/$SECRETS_BUCKET/$1"; then
text=$answer
return
fi
[[ $status == 4?? && $status != 429 ]] || fail "SecretsBucket: $1 cannot be read: $error"
[[ $status == 40[34] && -z ${2:-} && $error != *kms:* ]] || say "SecretsBucket: $1 is left out: $error"
return 1
}
s3() {
local try
for try in 1 2 3; do
refresh_keys || { error="no role keys from STS: $trouble" status='' && return 1; }
status='' trouble='no room for the request'
request <<CONFIG
url = "${endpoint[s3]}$1"
aws-sigv4 = "aws:amz:$DEPLOYMENT_REGION:s3"
user = "$key:$secret"
header = "X-Amz-Security-Token: $session"
header = "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD"
CONFIG
[[ $status != 200 ]] || return 0
error="$status $trouble"
[[ ! $answer =~ \<Code\>([^\<]*)\<.*\<Message\>([^\<]*)\< ]] || error="${BASH_REMATCH[1]}: ${BASH_REMATCH[2]}"
[[ $status != 301 ]] || error+=". The bucket must be in the stack's region, $DEPLOYMENT_REGION"
[[ $status == 5?? || $status == 429 || $status == 000 ]] || return 1
pause "$try" 4
done
return 1
}
give_caches() {
local id=${BUILDKITE_PIPELINE_ID:-} fork=${BUILDKITE_PULL_REQUEST_REPO:-} place branch=main
if [[ -n $fork && $fork != "${BUILDKITE_REPO:-}" ]]; then
say 'this build is of a fork, so it gets no caches'
return
fi
[[ ${BUILDKITE_BRANCH:-} == main ]] || branch=$(sha256 <<<"${BUILDKITE_BRANCH:-}")
give BUILDKITE_AGENT_CACHE_STORE_URL "s3://$CACHE_BUCKET/$id"
place=type=s3,region=$DEPLOYMENT_REGION,bucket=$CACHE_BUCKET,prefix=$id
give AGENT_STACK_BUILDKIT_MAIN "$place/main/"
give AGENT_STACK_BUILDKIT_BRANCH "$place/$branch/"
}
main() {
local job=$1
[[ -n $ROLE ]] || return 0
if ! request_token; then
say "no AWS access: Buildkite gave no token for this job: $error"
wrong=1
elif ! keep_token; then
say "no AWS access: $error"
wrong=1
fi
setsid bash "$0" renew "$job" </dev/null >/dev/null 2>&1 &
if has_credentials; then
say "this step has AWS credentials of its own, so AWS_ROLE_ARN is not set"
else
give AWS_ROLE_ARN "$ROLE"
give AWS_WEB_IDENTITY_TOKEN_FILE "$TOKEN"
give AWS_ROLE_SESSION_NAME "$SESSION"
give AWS_STS_REGIONAL_ENDPOINTS regional
fi
[[ -z $CACHE_BUCKET || -z $PIPELINE ]] || give_caches
if [[ -n $SECRETS_PATH$SECRETS_BUCKET ]]; then
((!wrong)) || fail 'so the secrets of this pipeline cannot be read'
[[ -n $PIPELINE ]] || fail 'this job names no pipeline (BUILDKITE_PIPELINE_ID is empty), so it has no secrets to read'
[[ -z $SECRETS_BUCKET ]] || read_bucket
[[ -z $SECRETS_PATH ]] || { read_secrets && read_aliases; }
give_secrets
fi
return "$wrong"
}
"$@"
PROGRAM
}
JOURNAL=$STATE/journal.log
LINES_A_REQUEST=200
SHIP_SECONDS=2
ship_logs() {
[[ -n ${LOG_GROUP:-} && -n ${instance_id:-} && -d $STATE ]] || return 0
local until
tick
until=$((now + $1))
if [[ -z ${sent[stream]:-} ]]; then
logs CreateLogStream "" || [[ $error == ResourceAlreadyExistsException ]] || return 0
sent[stream]=1
fi
ship_file "$BOOT_LOG"
ship_file "$JOURNAL"
ship_file "$LOG"
}
keep_journal() {
[[ -n ${LOG_GROUP:-} && -d $STATE && ! -e $JOURNAL ]] || return 0
timeout 10 journalctl --boot --no-pager --quiet --output=short-iso --lines=500 </dev/null >"$JOURNAL" 2>/dev/null || true
}
ship_file() {
local from=${sent[$1]:-0} lines text events now_ms line
[[ -s $1 ]] || return 0
while :; do
mapfile -t lines < <(tail -n "+$((from + 1))" "$1" | head -n "$LINES_A_REQUEST")
((${#lines[@]})) || return 0
now_ms=$(date +%s%3N) events=
for line in "${lines[@]}"; do
text=${line//[^[:print:]]/ }
[[ -z ${credential:-} ]] || text=${text//"$credential"/***}
text=${text:0:1000}
text=${text//\\/\\\\} text=${text//\"/\\\"}
events+="${events:+,}{\"timestamp\":$now_ms,\"message\":\"${text:- }\"}"
done
logs PutLogEvents ",\"logEvents\":[$events]" || return 0
from=$((from + ${#lines[@]})) sent[$1]=$from
done
}
logs() {
tick
((now < until)) || return 1
aws logs "Logs_20140328.$1" "{\"logGroupName\":\"$LOG_GROUP\",\"logStreamName\":\"$instance_id\"$2}" $((until - now)) ||
{ [[ $error == ResourceAlreadyExistsException ]] || printf 'agent-stack: logs not shipped: %s\n' "$error" && false; }
}
SECRETS=("$ENVIRONMENT" "$PRIVATE")
may_be_held() { ((bound && !credential_asked)) && [[ ${HOLD_ON_FAILURE_MINUTES:-0} != 0 ]]; }
tell_failure() {
local mark=''
[[ -z $hold ]] || find_job
! may_be_held || mark='(waits) '
report failed "$mark$reason" 10
[[ -z $mark ]] || await_hold
}
await_hold() {
local until
remove_secrets || { say "not held: the job's user or its secrets are still there" && return 0; }
keep_journal
ship_logs 5
trap - HUP INT TERM
tick
until=$((now + ${HOLD_VERDICT_SECONDS:-90}))
while tick && ((now < until)); do
if dynamodb GetItem '"ConsistentRead":true,"ProjectionExpression":"hold_seconds"' 0 && json "$answer" hold_seconds; then
[[ ! $field =~ ^[1-9][0-9]{0,4}$ ]] || ((field > HOLD_ON_FAILURE_MINUTES * 60)) || stay_up "$field"
fi
sleep 1
done
trap '' HUP INT TERM
say "not held"
}
remove_secrets() {
local name
for name in "$AGENT_UNIT" agent-stack-ssh; do
! systemctl is-active --quiet "$name" || systemctl stop "$name"
done
end_users_processes || return 1
rm -rf "${SECRETS[@]}"
for name in "${SECRETS[@]}"; do
[[ ! -e $name ]] || return 1
done
}
end_users_processes() {
local until code
id -u "$AGENT_USER" >/dev/null 2>&1 || return 0
command -v pkill >/dev/null || return 1
pkill -KILL -u "$AGENT_USER"
tick
until=$((now + 10))
while :; do
pgrep -u "$AGENT_USER" >/dev/null && code=0 || code=$?
tick
case $code in
0) ((now < until)) || return 1 ;;
1) return 0 ;;
*) return 1 ;;
esac
sleep 0.2
done
}
stay_up() {
say "held for $1 s"
ship_logs 5
trap - EXIT
exec sleep "$1"
}
credential_asked=0
take_credential() {
local give_up_at=
credential_asked=1
until update credential UPDATED_OLD "REMOVE credential SET stage = :stage, stage_seconds = :seconds" \
credential_taken "" 20; do
[[ $error == ConditionalCheckFailedException ]] || fail "credential cannot be taken: $error"
tick
if [[ -z $give_up_at ]]; then
if ((tries == 1)); then
say "credential is already taken"
exit 0
fi
give_up_at=$((now + ${CREDENTIAL_SECONDS:-60}))
report credential_lost "" 10
elif ((now >= give_up_at)); then
say "credential was lost and not given again"
exit 0
fi
sleep 1
done
json "$answer" credential && credential=$field || credential=''
[[ ${mail[credential_kind]} == job-token ]] || credential=$agent_token
one_word "$credential" || fail "credential is malformed"
credential=$text
}
declare -gA given=()
CLEANUP_SECONDS=20
write_environment() {
local name settings
set_grace
given[BUILDKITE_AGENT_TOKEN]=file://$PRIVATE/token
given[BUILDKITE_AGENT_ACQUIRE_JOB]=${mail[job_id]}
given[BUILDKITE_AGENT_ENDPOINT]=${mail[endpoint]}
given[BUILDKITE_AGENT_NAME]=${mail[agent_name]:-${arn##*/}}
given[BUILDKITE_AGENT_SPAWN]=1
given[BUILDKITE_BUILD_PATH]=$STATE/builds
given[BUILDKITE_HOOKS_PATH]=$HOOKS
given[BUILDKITE_PLUGINS_PATH]=$STATE/plugins
given[AGENT_STACK_PRIVATE]=$PRIVATE
given[BUILDKITE_NO_SSH_KEYSCAN]=true
set_if_given SSH_AUTH_SOCK "${git_ssh_socket:-}"
given[AGENT_STACK_ARTIFACT_BUCKET]=${ARTIFACT_BUCKET:-}
[[ -z ${JOB_AWS//|/} ]] || given[AGENT_STACK_JOB_AWS]=$JOB_AWS
if ((mirrors_there)); then
given[BUILDKITE_GIT_MIRRORS_PATH]=$MIRRORS given[BUILDKITE_GIT_MIRRORS_SKIP_UPDATE]=true
fi
given[AWS_REGION]=$DEPLOYMENT_REGION
given[AWS_DEFAULT_REGION]=$DEPLOYMENT_REGION
[[ ${AGENT_CONFIG_FILE:-ignored} == image ]] || given[BUILDKITE_AGENT_CONFIG]=/dev/null
for name in SIGNING VERIFICATION; do
[[ ! -f $PRIVATE/${name,,}-key.json ]] || given[BUILDKITE_AGENT_${name}_JWKS_FILE]=$PRIVATE/${name,,}-key.json
done
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
[[ -z ${PROXY:-} ]] || given[$name]=${!name}
done
set_if_given BUILDKITE_AGENT_EXPERIMENT "${AGENT_EXPERIMENTS:-}"
set_if_given BUILDKITE_ALLOWED_REPOSITORIES "${ALLOWED_REPOSITORIES:-}"
set_if_given BUILDKITE_ALLOWED_PLUGINS "${ALLOWED_PLUGINS:-}"
[[ ${AGENT_TRACING:-none} == none ]] || given[BUILDKITE_TRACING_BACKEND]=$AGENT_TRACING
settings=$(printf '%s' "${AGENT_ENVIRONMENT:-}" | base64 -d && printf .) || fail "AGENT_ENVIRONMENT is not base64"
take_settings "$settings" "parameter AgentEnvironment"
if [[ -f $STATE/agent-settings ]]; then
settings=$(cat "$STATE/agent-settings" && printf '\n.') || fail "the settings of the bootstrap script cannot be read"
take_settings "$settings" "bootstrap script's settings"
fi
both_names
given[BUILDKITE_AGENT_TAGS]=$(agent_tags)
redact
for name in "${!given[@]}"; do
quoted "${given[$name]}"
printf '%s="%s"\n' "$name" "$field"
done >"$ENVIRONMENT"
}
set_if_given() { [[ -z $2 ]] || given[$1]=$2; }
set_grace() {
local most=$((${CANCEL_GRACE_SECONDS:-120} - 5)) cleanup=$CLEANUP_SECONDS
job_grace=${JOB_GRACE_SECONDS:-60}
if ((job_grace + cleanup > most)); then
cleanup=$((most / 4 > 0 ? most / 4 : 1))
job_grace=$((most - cleanup > 0 ? most - cleanup : 1))
fi
grace=$((job_grace + cleanup))
given[BUILDKITE_CANCEL_GRACE_PERIOD]=$grace
given[BUILDKITE_SIGNAL_GRACE_PERIOD_SECONDS]=$job_grace
given[BUILDKITE_CANCEL_SIGNAL_TIMEOUT]=${job_grace}s
given[BUILDKITE_CANCEL_CLEANUP_TIMEOUT]=${cleanup}s
}
take_settings() {
local line part name='' setting='^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)=(.*)$' text number=0 parts
text=${1%.}
text=${text//$'\r\n'/$'\n'}
while IFS= read -r line; do
number=$((number + 1)) name=''
[[ -n $line ]] || continue
parts=("$line")
[[ $text == *$'\n'* ]] || mapfile -t -d , parts < <(printf '%s,' "$line")
for part in "${parts[@]}"; do
if [[ $part =~ $setting ]]; then
name=${BASH_REMATCH[1]}
given[$name]=${BASH_REMATCH[2]}
elif [[ -n $name ]]; then
given[$name]+=,$part
else
fail "$2, line $number is not NAME=value"
fi
done
done <<<"$text"
}
both_names() {
[[ ${given[BUILDKITE_TRACING_BACKEND]:-} != opentelemetry ]] || given[BUILDKITE_OPENTELEMETRY_TRACING]=true
[[ ${given[BUILDKITE_OPENTELEMETRY_TRACING]:-} != true ]] || given[BUILDKITE_TRACING_BACKEND]=opentelemetry
same_as BUILDKITE_TRACING_SERVICE_NAME BUILDKITE_TELEMETRY_SERVICE_NAME
same_as BUILDKITE_DISABLE_GIT_SUBMODULES BUILDKITE_NO_GIT_SUBMODULES
}
same_as() {
[[ -v given[$1] || ! -v given[$2] ]] || given[$1]=${given[$2]}
[[ ! -v given[$1] || -v given[$2] ]] || given[$2]=${given[$1]}
}
agent_tags() {
local tags=${mail[queue_key]:+queue=${mail[queue_key]},}${mail[agent_tags]:+${mail[agent_tags]},} fact
for fact in "${facts[@]}"; do
tags+=$fact,
done
tags+=${given[BUILDKITE_AGENT_TAGS]:-}
printf '%s' "${tags%,}"
}
redact() {
local own='*_PASSWORD,*_SECRET,*_TOKEN,*_PRIVATE_KEY,*_SSH_KEY,*_ACCESS_KEY,*_SECRET_KEY,*_CONNECTION_STRING,*_API_KEY'
local name redacted=${REDACTED_VARIABLES:+,$REDACTED_VARIABLES}
for name in "${job_variables[@]}"; do
redacted+=,$name
done
[[ -z $redacted ]] || given[BUILDKITE_REDACTED_VARS]=${given[BUILDKITE_REDACTED_VARS]:-$own}$redacted
}
quoted() {
field=${1//\\/\\\\}
field=${field//\"/\\\"}
field=${field//\$/\\\$}
field=${field//\`/\\\`}
}
DETAIL_BYTES=265
REPORT_SECONDS=20
SPOT_REPORT_SECONDS=3
noticed=0
stop_missed=0
give_credential() {
mkfifo -m 0644 "$PRIVATE/token" || fail "the credential cannot be given to the agent"
({
printf '%s' "$credential" | timeout 60 tee "$PRIVATE/token" >/dev/null 2>&1 || true
rm -f "$PRIVATE/token"
} &)
}
start_agent() {
local isolated=()
if [[ ${JOB_METADATA:-blocked} == blocked ]]; then
isolated=(-p IPAddressDeny=169.254.169.254 -p IPAddressDeny=fd00:ec2::254)
fi
give_credential
systemd-run -q -u "$AGENT_UNIT" --wait --collect -p Type=exec -p User="$AGENT_USER" \
-p EnvironmentFile="$ENVIRONMENT" -p KillMode=mixed -p KillSignal=SIGQUIT -p TimeoutStopSec=$((grace + 15)) \
-p OOMPolicy=continue -p OOMScoreAdjust=-900 -p LimitCORE=0 -p After="network-online.target $BOOT_UNIT.service" \
-p StandardOutput=append:"$LOG" -p StandardError=append:"$LOG" "${isolated[@]}" "$agent" start &
waiter=$!
until systemctl is-active --quiet "$AGENT_UNIT" || ! kill -0 "$waiter" 2>/dev/null; do sleep 0.1; done
rm -f "$ENVIRONMENT"
systemctl is-active --quiet "$AGENT_UNIT" || return 0
ran=1
((!stop_missed)) || stop_agent
say "agent started"
report agent_started "$mirrors_said" 3
keep_journal
}
stop_agent() { systemctl kill --kill-who=main --signal=SIGQUIT "$AGENT_UNIT" || stop_missed=1; }
watch_agent() {
local shipped=0
while kill -0 "$waiter" 2>/dev/null; do
sleep "${SPOT_POLL_SECONDS:-2}" &
wait -n "$waiter" $! || true
if ((!noticed)) && imds meta-data/spot/instance-action; then
noticed=1
say "spot notice: $answer"
install -m 0644 /dev/stdin "$RUN/spot-notice" <<<"$answer" || true
stop_agent
REPORT_SECONDS=$SPOT_REPORT_SECONDS last_ship_seconds=$SHIP_SECONDS
report spot_notice "$answer" 3
fi
tick
if ((!noticed && now - shipped >= 10)); then
shipped=$now
ship_logs "$SHIP_SECONDS"
fi
done
}
report_exit() {
local code=0 said mark=
((!noticed)) || mark='(spot notice) '
wait "$waiter" || code=$?
trap '' HUP INT TERM
if ((code && !ran)) && [[ ! -s $LOG ]]; then
waiter=''
fail "agent cannot be started: code $code"
fi
said=$(failure_report)
say "agent exited with code $code $said"
report agent_exited "$code $mark$said" "$REPORT_SECONDS"
}
failure_report() {
local said wrong banner='^ *https?:\/\/buildkite\.com\/agent[ |_/]*$'
said=$(tail -n 40 "$LOG" 2>/dev/null | sed -E -e $'s/\e\\[[0-9;]*[A-Za-z]//g' -e 's/\r$//' \
-e 's/^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8} +//' -e '/^ *$/d' -e '/^INFO +Disconnect/d')
! grep -Eq "$banner" <<<"$said" || said=$(sed -E "1,/$banner/d" <<<"$said")
wrong=$(grep -Ev '^(DEBUG|INFO|NOTICE) ' <<<"$said") || wrong=$said
said=${wrong//"$credential"/***}
said=${said//[^[:print:]]/ }
((${#said} <= DETAIL_BYTES)) || said=...${said: -DETAIL_BYTES}
printf '%s' "$said"
}
run_job() {
[[ -n $hold ]] || prepare
fetch_private
write_environment
take_credential
start_agent
watch_agent
report_exit
}
