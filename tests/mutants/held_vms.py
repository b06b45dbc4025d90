"""Mutants of the boot program's part of a hold: which VM waits for one, and what of the job's is left on it."""

from tests.mutants.mutant import Layer, one

_VM = "infra/vm/hold.sh"
_ON_THE_VM = "tests/vm/test_hold.py"
_LEFT = "tests/vm/test_hold_secrets.py"

MUTANTS = (
    one(
        Layer.VM,
        "wait for a hold with a credential",
        _VM,
        "((bound && !credential_asked))",
        "((bound))",
        _LEFT,
        "-k",
        "asked_for",
    ),
    one(
        Layer.VM,
        "note that a credential is asked for when its answer is there",
        "infra/vm/credential.sh",
        "  credential_asked=1 #",
        "  : #",
        _LEFT,
        "-k",
        "asked_for",
    ),
    one(Layer.VM, "wait for a hold that is off", _VM, "[[ ${HOLD_ON_FAILURE_MINUTES:-0} != 0 ]]", "true", _ON_THE_VM),
    one(Layer.VM, "stay in the boot program while held", _VM, '  exec sleep "$1"', '  sleep "$1"', _ON_THE_VM),
    one(Layer.VM, "obey any length of a hold", _VM, "((field > HOLD_ON_FAILURE_MINUTES * 60)) || ", "", _ON_THE_VM),
    one(Layer.VM, "wait through the end of the VM", _VM, "  trap - HUP INT TERM #", "  : #", _ON_THE_VM),
    one(
        Layer.VM, "wait for a hold without end", _VM, "while tick && ((now < until)); do", "while tick; do", _ON_THE_VM
    ),
    one(
        Layer.VM,
        "be held with processes of the job's user",
        _VM,
        "((now < until)) || return 1 ;;",
        "((now < until)) || return 0 ;;",
        _ON_THE_VM,
    ),
    one(
        Layer.VM,
        "leave the key's agent to whoever looks in",
        _VM,
        '    ! systemctl is-active --quiet "$name" || systemctl stop "$name"\n  done\n'
        "  end_users_processes || return 1\n",
        "    :\n  done\n",
        _ON_THE_VM,
    ),
    one(
        Layer.VM,
        "take a pgrep that fails for no process",
        _VM,
        "      1) return 0 ;; # none\n",
        "      [!0]*) return 0 ;; # none\n",
        _LEFT,
        "-k",
        "not_known",
    ),
    one(
        Layer.VM,
        "leave the registry's login to whoever looks in",
        "infra/vm/docker.sh",
        '  SECRETS+=("$home/.docker/config.json")\n',
        "",
        _ON_THE_VM,
    ),
)
