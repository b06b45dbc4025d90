"""What moto is held to where it stands in for AWS."""

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from tests.simulator.aws import Isolated

A_MOMENT = 0.2


def meet(target: str) -> bool:
    """Whether two requests of that target are served at the same time."""
    both = threading.Barrier(2)
    met = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401  (WSGI's)
        try:
            both.wait(A_MOMENT)
        except threading.BrokenBarrierError:
            return []
        met.append(True)
        return []

    isolated = Isolated(application)
    asking = [threading.Thread(target=isolated, args=({"HTTP_X_AMZ_TARGET": target}, None)) for _ in range(2)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    return bool(met)


@pytest.mark.parametrize("operation", ["TransactWriteItems", "PutItem"])
def test_a_transaction_that_moto_takes_back_undoes_no_write_of_another_request(operation: str) -> None:
    assert not meet(f"DynamoDB_20120810.{operation}")


def test_other_services_are_asked_in_parallel() -> None:
    assert meet("AmazonSSM.GetParameters")
