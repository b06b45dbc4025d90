"""What the schedules may and may not."""

from tests.infra.requests.asking import PLACE, Named, ask, key
from tests.infra.stacks import KEY


def allowed() -> Named:
    for name in ("DispatcherFunctionId", "TrackerFunctionId"):
        yield f"{name} invoked", ask("lambda:InvokeFunction", f"arn:aws:lambda:{PLACE}:function:{name}")
    yield "failure kept", ask("sqs:SendMessage", f"arn:aws:sqs:{PLACE}:FailedEventsId")
    for action in ("Decrypt", "GenerateDataKey"):
        yield f"key {action}", key(action, "sqs")


def denied() -> Named:
    yield "another function", ask("lambda:InvokeFunction", f"arn:aws:lambda:{PLACE}:function:payroll")
    yield "a function changed", ask("lambda:UpdateFunctionCode", f"arn:aws:lambda:{PLACE}:function:TrackerFunctionId")
    yield "another queue", ask("sqs:SendMessage", f"arn:aws:sqs:{PLACE}:orders")
    yield "key by hand", ask("kms:Decrypt", KEY)
    yield "another key", key("Decrypt", "sqs", KEY.replace("0123", "9999"))
