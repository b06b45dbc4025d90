# shellcheck shell=bash
# The boot program's second stage: prepares the VM, takes the credential, runs one agent and tells its end.

# shellcheck source=values.sh
source "${BASH_SOURCE%/*}/values.sh"
# shellcheck source=downloads.sh
source "${BASH_SOURCE%/*}/downloads.sh"
# shellcheck source=prepare.sh
source "${BASH_SOURCE%/*}/prepare.sh"
# shellcheck source=mirrors.sh
source "${BASH_SOURCE%/*}/mirrors.sh"
# shellcheck source=standby.sh
source "${BASH_SOURCE%/*}/standby.sh"
# shellcheck source=private.sh
source "${BASH_SOURCE%/*}/private.sh"
# shellcheck source=docker.sh
source "${BASH_SOURCE%/*}/docker.sh"
# shellcheck source=known_hosts.sh
source "${BASH_SOURCE%/*}/known_hosts.sh"
# shellcheck source=job_access.sh
source "${BASH_SOURCE%/*}/job_access.sh"
# shellcheck source=logs.sh
source "${BASH_SOURCE%/*}/logs.sh"
# shellcheck source=hold.sh
source "${BASH_SOURCE%/*}/hold.sh"
# shellcheck source=credential.sh
source "${BASH_SOURCE%/*}/credential.sh"
# shellcheck source=environment.sh
source "${BASH_SOURCE%/*}/environment.sh"
# shellcheck source=agent.sh
source "${BASH_SOURCE%/*}/agent.sh"

# The credential is taken last: nothing that fails before it has cost it, and the job can go to another VM at once.
run_job() {
  [[ -n $hold ]] || prepare # a VM that stands by did so before it had a job
  fetch_private
  write_environment
  take_credential
  start_agent
  watch_agent
  report_exit
}
