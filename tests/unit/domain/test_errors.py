"""The error tree: a class keeps what the classes above it promise."""

from agent_stack.domain.errors import GiveUpError, RetryError, TransientError, UnknownOutcomeError, WaitError


def test_an_unknown_outcome_is_never_taken_for_one_that_may_be_asked_again() -> None:
    assert not issubclass(UnknownOutcomeError, RetryError)
    assert not issubclass(RetryError, UnknownOutcomeError)


def test_both_pass_by_themselves_and_a_refusal_does_not() -> None:
    assert issubclass(RetryError, TransientError)
    assert issubclass(UnknownOutcomeError, TransientError)
    assert not issubclass(GiveUpError, TransientError)
    assert not issubclass(WaitError, TransientError)
