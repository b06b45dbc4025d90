"""`python -m agent_stack_cli`, and the console script `agent-stack`."""

import io
import sys


def main() -> None:
    """Run the verb that was asked for; without the extra, say how to get it."""
    try:
        from agent_stack_cli.app import app  # noqa: PLC0415  (only here can its absence be explained)
        from agent_stack_cli.errors import PROGRAM  # noqa: PLC0415  (it needs boto3, which the same extra brings)
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich", "click", "yaml"}:
            raise
        sys.stderr.write(
            f"agent-stack: the package {error.name} is missing\n"
            "Next: install with the extra: uv tool install 'agent-stack-ec2[cli] @ git+<this repository>'\n"
        )
        sys.exit(1)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale may lack characters of ours, and of pipelines
    app(prog_name=PROGRAM)


if __name__ == "__main__":
    main()
