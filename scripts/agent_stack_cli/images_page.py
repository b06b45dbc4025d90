"""What `agent-stack images` prints."""

from collections.abc import Mapping

from agent_stack.adapters.ec2.catalog import RESOLVE
from agent_stack_cli.bakes import FAILED, Bake, by_setting, correction, log_of
from agent_stack_cli.images import BakedImage, BakedImages, Kept, Used, What, bake, keep, read, start, use, with_records
from agent_stack_cli.output import Output
from agent_stack_cli.stacks import Stack

KINDS: Mapping[str, str] = {
    "BakeImagePackages": "packages",
    "BakeImageRepositories": "repositories",
    "BakeImageDockerImages": "docker images",
}


def run(stack: Stack, what: What, image: str, output: Output) -> None:
    """The verb.

    Raises:
        CliError: see `use`.
    """
    if what == "use":
        _show_used(use(stack, image), stack, output)
    elif what != "list":
        _show_kept(keep(stack, what, image), stack, output)
    else:
        show(with_records(stack, read(stack)), stack, output)


def show(found: BakedImages, stack: Stack, output: Output) -> None:
    """The images for people, or as JSON."""
    if output.as_json:
        output.json(found)
        return
    if not found.parameter:
        output.line(f"{stack.name} bakes no image.")
        output.line(f"Next: {bake(stack)}")
        return
    output.table(
        ("Image", "Made", "State", "Agent", "Revision", "Kept", "New VMs of"),
        [
            (
                *(one.image, one.made[:16], one.state, one.agent_version, one.revision),
                *("kept" if one.kept else "", _users(one)),
            )
            for one in found.images
        ],
    )
    for image in found.images:
        _show_additions(image, output)
    if lacking := next(
        (one for one in found.images if one.added is not None and one.added.lacks and _matters(one, found)), None
    ):
        _show_corrections(lacking, stack, output, start(stack, found.parameter))
    for baked in found.bakes:
        _show_bake(baked, stack, output)
    for why in found.unreadable:
        output.line(f"Not shown: {why}", "warning")
    _show_use(found, stack, output)


def _matters(image: BakedImage, found: BakedImages) -> bool:
    """Whether new VMs get it, or would have got it: what an older one lacks may be corrected already."""
    return image.in_use or bool(image.classes) or image is found.images[0]


def _show_additions(image: BakedImage, output: Output) -> None:
    if image.added is None:
        return
    parts = [f"{kind} {', '.join(image.added.holds[of])}" for of, kind in KINDS.items() if of in image.added.holds]
    more = "" if image.added.whole else "; the log does not say all of it"
    output.line(f"{image.image} holds {'; '.join(parts) or 'no additions'}{more}")
    for lack in image.added.lacks:
        output.line(f"{image.image} lacks {lack.setting}={lack.value}: {lack.why}", "warning")


def _show_corrections(image: BakedImage, stack: Stack, output: Output, again: str) -> None:
    for setting, lacks in by_setting(image.added.lacks if image.added else ()).items():
        output.line(f"Next: {correction(stack, setting, lacks, again)}")


def _show_bake(baked: Bake, stack: Stack, output: Output) -> None:
    output.line(
        f"Bake {baked.version} of {baked.made[:16]} is {baked.status}{f': {baked.reason}' if baked.reason else ''}",
        "warning" if baked.status == FAILED else "",
    )
    if baked.status == FAILED and baked.log_groups:
        output.line(f"Its log: {log_of(stack, baked)}")


def _show_use(found: BakedImages, stack: Stack, output: Output) -> None:
    others = [one.image for one in found.images if one.state == "available" and not one.in_use]
    if found.value is None:
        return
    if not found.value:
        if any(baked.goes_on for baked in found.bakes):
            output.line(f"{found.parameter} is not there before the bake ends.", "warning")
        else:
            output.line(f"{found.parameter} is not there: no image is baked yet, or its build goes on.", "warning")
            output.line(f"Next: {start(stack, found.parameter)}")
    elif not any(one.in_use for one in found.images):
        output.line(
            f"{found.parameter} names {found.value}, which is no baked image of this stack: it is gone, or another's.",
            "warning",
        )
    elif not any(one.classes for one in found.images):
        output.line(f"No class names {RESOLVE}{found.parameter}: no VM uses a baked image.", "warning")
        output.line(f"Next: {stack.agent_stack('classes', 'push', 'FILE')}")
    if found.value and others:
        output.line(f"Another one: {stack.agent_stack('images', 'use', others[0])}")


def _show_used(done: Used, stack: Stack, output: Output) -> None:
    if output.as_json:
        output.json(done)
        return
    if not done.changed:
        output.line(f"{done.parameter} names {done.image} already.")
        return
    output.line(f"{done.parameter} is now {done.image}: new VMs get it. VMs that are up go on.", "ok")
    output.line("The next bake names its own image again. To stay, name this one in your classes and keep it:")
    output.line(f"Next: {stack.agent_stack('images', 'keep', done.image)}")
    back = stack.agent_stack("images", "use", done.before) if done.before else stack.agent_stack("images")
    output.line(f"To go back: {back}")


def _show_kept(done: Kept, stack: Stack, output: Output) -> None:
    if output.as_json:
        output.json(done)
        return
    if done.kept:
        output.line(
            f"{done.image} stays until you let it go: {stack.agent_stack('images', 'unkeep', done.image)}", "ok"
        )
        return
    output.line(f"{done.image} may be removed when five are newer and it launched nothing for 60 days.")
    if done.classes:
        output.line(f"Classes have it still: {', '.join(done.classes)}.", "warning")


def _users(image: BakedImage) -> str:
    """Classes, or that the parameter names it and no class does."""
    return ", ".join(image.classes) or ("no class" if image.in_use else "")
