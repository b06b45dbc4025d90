# shellcheck shell=bash
# The second stage: an item of the mailbox table, by the hash that user data names. A baked image may have it already.

# Puts the second stage into place. Fails with error.
find_program() {
  local packed=$PROGRAMS/$PROGRAM_SHA256.gz
  if [[ -f $packed ]] && unpack <"$packed"; then return; fi
  dynamodb GetItem '"ConsistentRead":true,"ProjectionExpression":"program"' 0 "program#$PROGRAM_SHA256" || {
    error="program#$PROGRAM_SHA256 cannot be read: $error" && return 1
  }
  [[ $answer == *'"B"'* ]] || { error="program#$PROGRAM_SHA256 is not in the table" && return 1; }
  field=${answer#*'"B"'*'"'}
  unpack < <(base64 -d <<<"${field%%'"'*}") # no pipe, in which what it says would be lost
}

# Unpacks standard input and takes it for the program only when it has the program's hash: then it can be sourced.
unpack() {
  local actual
  gzip -dc >"$RUN/program.new" 2>/dev/null || { error="program#$PROGRAM_SHA256 cannot be unpacked" && return 1; }
  actual=$(sha256sum <"$RUN/program.new")
  [[ ${actual%% *} == "$PROGRAM_SHA256" ]] || { error="program#$PROGRAM_SHA256 has the hash ${actual%% *}" && return 1; }
  mv "$RUN/program.new" "$RUN/program.sh"
}

# A job is there: what kept the second stage away may have passed meanwhile. Else the reason is this boot's failure.
until_program() {
  local until
  tick
  until=$((now + ${PROGRAM_SECONDS:-30}))
  until [[ -f $RUN/program.sh ]] || find_program; do
    tick
    ((now < until)) || fail "second stage of the boot program: $error"
    pause "$((tries += 1))"
  done
}
