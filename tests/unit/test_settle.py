"""A permission that was given a moment ago is waited for; a wrong setting is not."""

import pytest

from agent_stack.domain.errors import ConfigurationError, NotPermittedError, RetryError
from agent_stack.stages.settle import AGAIN, SETTLES_WITHIN, Settle
from tests.simulator.clock import EPOCH, FixedDeadline, VirtualClock


def refusing(*errors: Exception) -> tuple[Settle, VirtualClock, list[Exception]]:
    clock = VirtualClock()
    return Settle(clock=clock, deadline=FixedDeadline()), clock, list(errors)


def denied() -> NotPermittedError:
    return NotPermittedError(setting="AgentTokenParameter", value="/t", problem="may not", remedy="Wait.")


def test_what_is_denied_at_first_is_read_in_the_end() -> None:
    settled, clock, errors = refusing(denied(), RetryError("no answer"), denied())

    def read() -> str:
        if errors:
            raise errors.pop()
        return "token"

    assert settled(read) == "token"
    assert clock.now() - EPOCH == 3 * AGAIN


def test_what_stays_denied_is_said() -> None:
    settled, clock, _ = refusing()

    def read() -> str:
        raise denied()

    with pytest.raises(NotPermittedError):
        settled(read)
    assert SETTLES_WITHIN <= clock.now() - EPOCH <= SETTLES_WITHIN + AGAIN


def test_a_wrong_setting_is_said_at_once() -> None:
    settled, clock, _ = refusing()

    def read() -> str:
        raise ConfigurationError(setting="ClassesParameter", value="x", problem="is no JSON", remedy="Write some.")

    with pytest.raises(ConfigurationError):
        settled(read)
    assert clock.now() == EPOCH
