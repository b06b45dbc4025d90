"""The commands that a verb names next: they reach the account and the region of the operator's call."""

from dataclasses import dataclass

from agent_stack_cli.errors import PROGRAM, command


def options_of(region: str | None, profile: str | None) -> tuple[str, ...]:
    """The options that a command needs to reach the same account and region again."""
    return (*(("--region", region) if region else ()), *(("--profile", profile) if profile else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Commands for one account and region. Asks neither AWS nor its configuration.

    Attributes:
        region: as the operator named it; None for what each command finds by itself.
        profile: as the operator named it.
        found: the region that boto3 found where the operator named none; the `aws` command may find another.
    """

    region: str | None = None
    profile: str | None = None
    found: str | None = None

    def agent_stack(self, *words: str) -> str:
        """A command of this program."""
        return command(PROGRAM, *words, *options_of(self.region, self.profile))

    def aws(self, *words: str) -> str:
        """An `aws` command."""
        return command(*self.aws_words(*words))

    def aws_words(self, *words: str) -> list[str]:
        """The same, word by word."""
        return ["aws", *words, *options_of(self.region or self.found, self.profile)]

    def deploy(self, *words: str) -> str:
        """A `scripts/deploy` command. It takes no --profile."""
        as_profile = f"AWS_PROFILE={command(self.profile)} " if self.profile else ""
        return as_profile + command("scripts/deploy", *words, *options_of(self.region, None))
