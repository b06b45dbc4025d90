"""Why a request goes no further, as AWS says it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(Exception):
    """One refusal; the front puts it into the words of the service that was asked."""

    code: str
    message: str
    status: int = 400

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
