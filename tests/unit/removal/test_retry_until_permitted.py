"""A permission that was given a moment ago is waited for; a wrong setting is not."""

import pytest

from agent_stack.domain.errors import ConfigurationError, NotPermittedError, RetryError, UnknownOutcomeError
from agent_stack.removal.retry_until_permitted import (
    ANSWER_RESERVE,
    PROPAGATION_TIMEOUT,
    RETRY_INTERVAL,
    RetryUntilPermitted,
)
from tests.simulator.clock import EPOCH, FixedDeadline, VirtualClock


def refusing(*errors: Exception) -> tuple[RetryUntilPermitted, VirtualClock, list[Exception]]:
    clock = VirtualClock()
    return RetryUntilPermitted(clock=clock, deadline=FixedDeadline()), clock, list(errors)


def denied() -> NotPermittedError:
    return NotPermittedError(setting="AgentTokenParameter", value="/t", problem="may not", remedy="Wait.")


def test_what_is_denied_at_first_is_read_in_the_end() -> None:
    settled, clock, errors = refusing(denied(), RetryError("throttled"), UnknownOutcomeError("no answer"))

    def read() -> str:
        if errors:
            raise errors.pop()
        return "token"

    assert settled(read) == "token"
    assert clock.now() - EPOCH == 3 * RETRY_INTERVAL


def test_what_stays_denied_is_said() -> None:
    settled, clock, _ = refusing()

    def read() -> str:
        raise denied()

    with pytest.raises(NotPermittedError):
        settled(read)
    assert PROPAGATION_TIMEOUT <= clock.now() - EPOCH <= PROPAGATION_TIMEOUT + RETRY_INTERVAL


def test_a_wrong_setting_is_said_at_once() -> None:
    settled, clock, _ = refusing()

    def read() -> str:
        raise ConfigurationError(setting="ClassesParameter", value="x", problem="is no JSON", remedy="Write some.")

    with pytest.raises(ConfigurationError):
        settled(read)
    assert clock.now() == EPOCH


def test_cloudformation_is_answered_in_time_although_it_stays_denied() -> None:
    clock = VirtualClock()

    def read() -> str:
        raise denied()

    with pytest.raises(NotPermittedError):
        RetryUntilPermitted(clock=clock, deadline=FixedDeadline(ANSWER_RESERVE))(read)
    assert clock.now() == EPOCH
