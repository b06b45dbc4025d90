"""Go writes an empty list or map as null: what each answer means then."""

from typing import Any

import pytest
from pydantic import ValidationError

from agent_stack.adapters.stacks_api import models
from agent_stack.domain.identifiers import QueueKey

QUEUE = {"id": "queue-id", "dispatch_paused": False}
A_JOB = {"id": "a", "scheduled_at": "2023-10-01T12:00:00.000Z"}


def listed(**job: Any) -> Any:  # noqa: ANN401  (a listed job, as anything may stand in it)
    return models.ListedJob.model_validate({**A_JOB, **job}).to_job(QueueKey("default"))


def test_an_empty_listing_may_be_null() -> None:
    listing = models.Listing.model_validate({"jobs": None, "page_info": None, "cluster_queue": QUEUE})
    page = listing.to_page(QueueKey("default"), can_page=True, unreadable=lambda *_: None)
    assert (page.jobs, page.next_cursor, page.more) == ((), None, False)


@pytest.mark.parametrize(
    ("answer", "said", "empty"),
    [
        (models.Reservation, {"reserved": None, "not_reserved": None}, {"reserved": (), "not_reserved": ()}),
        (models.States, {"states": None}, {"states": {}}),
        (models.Details, {"id": "a", "env": None, "command": None}, {"env": {}}),
        (models.Notifications, {"errors": None}, {"errors": ()}),
        (models.Notifications, {"errors": [{"error": None, "indexes": None}]}, {}),
        (models.IssuedTokens, {"job_acquisition_tokens": None, "not_issued": None}, {"not_issued": ()}),
    ],
)
def test_an_empty_list_or_map_of_any_answer_may_be_null(
    answer: type[models.Answer], said: dict[str, Any], empty: dict[str, Any]
) -> None:
    read = answer.model_validate(said)
    assert {name: type(value)(getattr(read, name)) for name, value in empty.items()} == empty


@pytest.mark.parametrize("answer", [models.Reservation, models.States, models.IssuedTokens, models.Listing])
def test_what_is_missing_is_no_empty_list(answer: type[models.Answer]) -> None:
    with pytest.raises(ValidationError):
        answer.model_validate({})


@pytest.mark.parametrize("junk", [7, [], {}, "2023-13-45T99:99:99Z", True])
def test_a_detail_that_cannot_be_read_costs_no_job_its_place(junk: object) -> None:
    job = listed(runnable_at=junk if not isinstance(junk, int) else "x", pipeline=junk, build=junk, step=junk)
    assert job.job_id == "a"
    assert job.waits_since == job.scheduled_at


def test_a_token_has_at_most_four_kilobytes() -> None:
    token = {"job_uuid": "a", "job_acquisition_token": "e" * models.MAX_TOKEN_CHARACTERS}
    assert models.IssuedToken.model_validate(token).job_uuid == "a"
    with pytest.raises(ValidationError):
        models.IssuedToken.model_validate({**token, "job_acquisition_token": "e" * 4_097})


@pytest.mark.parametrize("junk", [7, ["x"], "last", {"has_next_page": "perhaps"}, {"end_cursor": 7}])
def test_a_page_whose_place_cannot_be_read_keeps_its_jobs_and_is_not_the_last(junk: object) -> None:
    listing = models.Listing.model_validate({"jobs": [A_JOB], "page_info": junk, "cluster_queue": QUEUE})
    page = listing.to_page(QueueKey("default"), can_page=True, unreadable=lambda *_: None)
    assert ([job.job_id for job in page.jobs], page.more, page.next_cursor) == (["a"], True, None)


@pytest.mark.parametrize("junk", [None, 7, ["running"], {"state": "running"}])
def test_one_answer_about_a_job_that_cannot_be_read_costs_no_other_job_its_own(junk: object) -> None:
    states = models.States.model_validate({"states": {"a": junk, "b": "running"}}).states
    assert states == {"a": None, "b": "running"}
    assert models.Reservation.model_validate({"reserved": ["b", junk]}).reserved == ["b"]
    assert models.Details.model_validate({"id": "b", "env": {"A": junk, "B": "x"}}).env == {"A": None, "B": "x"}


def test_a_list_of_nothing_but_what_cannot_be_read_is_no_empty_list() -> None:
    with pytest.raises(ValidationError):
        models.Reservation.model_validate({"reserved": [{"id": "a"}]})
