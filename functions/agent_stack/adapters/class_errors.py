"""How adapters name what is wrong with a class, so that every error of a class reads the same."""

from agent_stack.domain.errors import ConfigurationError

SETTING = "ClassesParameter"
REMEDY = "Correct the document in that parameter; docs/reference/classes.md shows every field."


def wrong_member(
    member: str, problem: str, *, kind: type[ConfigurationError] = ConfigurationError
) -> ConfigurationError:
    """An error about one member of a class, such as its image. `read_classes` adds the class."""
    return kind(setting=SETTING, value=member, problem=f"{member}: {problem}", remedy=REMEDY)
