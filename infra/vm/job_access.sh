# shellcheck shell=bash
# AWS access of the job's own. Root puts the program for it into place and a directory for its token; the job's hook runs
# it, with what the job's environment makes of it: the token is the job's, and a job that tampers harms itself only.

JOB_PROGRAM=${HOOKS%/*}/agent-stack-aws

# The program shares with this one how it asks, signs and reads.
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
@job/aws@
PROGRAM
}
