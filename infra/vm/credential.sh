# shellcheck shell=bash
# What makes the job this VM's.

credential_asked=0 # 1: this VM asked for its credential, and may have it

# One conditional write removes and returns the credential. A VM that comes second owns nothing and leaves quietly.
# A write whose answer was lost may have taken it, too: then the tracker is asked for another.
take_credential() {
  local give_up_at=
  credential_asked=1 # before the ask: a signal may come between the answer and what reads it
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
