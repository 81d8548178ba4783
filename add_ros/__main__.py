# PYTHON_ARGCOMPLETE_OK
"""The command `add-ros`: finds the command that is meant and runs its module. `python -m add_ros` is the same."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence

from add_ros.commands import COMMANDS, GROUPS, Command

# Packages that not every installation has, and how to get them.
_TORCH = ("torch", "lightning", "jsonargparse", "safetensors", "onnx", "onnxscript")
_ROS = ("rclpy", "rosgraph_msgs", "sensor_msgs", "vision_msgs", "message_filters", "cv_bridge")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 2 where no command is meant or its options are wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    command, rest = _find(words)
    if command is None:
        return _no_command(words)
    try:
        module = importlib.import_module(command.module)
        return module.main([*command.first, *rest])
    except ModuleNotFoundError as error:
        if needed := _how_to_install(error.name or ""):
            print(f"error: add-ros {command.name} needs {error.name}: {needed}", file=sys.stderr)
            return 1
        raise


def _find(words: Sequence[str]) -> tuple[Command | None, Sequence[str]]:
    """The command that the first words name, and the words behind it."""
    for command in COMMANDS:
        name = command.name.split()
        if list(words[: len(name)]) == name:
            return command, words[len(name) :]
    return None, words


def _no_command(words: Sequence[str]) -> int:
    """Help, or an error where something that is no command was given."""
    known = {command.name.split()[0] for command in COMMANDS}
    group = words[0] if words and words[0] in known else ""
    asked = words[1:] if group else words
    if any(word in ("-h", "--help") for word in asked[:1]):
        print(overview(group))
        return 0
    if not asked:
        print(overview(group), file=sys.stderr)
        return 2
    given = f"{group} {asked[0]}".strip()
    close = difflib.get_close_matches(given, [command.name for command in COMMANDS], n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    print(f"add-ros: no such command: {given!r}{hint}; add-ros --help lists them", file=sys.stderr)
    return 2


def overview(group: str = "") -> str:
    """The commands with what they do; those of one first word only, such as bag, where one is given."""
    lines = [
        f"usage: add-ros {group or 'COMMAND'} {'COMMAND ' if group else ''}[options]",
        "",
        "Monocular 3D object detection: train and score detectors, and run them on bags and cameras.",
    ]
    for title, commands in GROUPS.items():
        shown = [command for command in commands if command.name.split()[0] == group or not group]
        if shown:
            lines += ["", f"{title}:", *(f"  {command.name:<14}{command.summary}" for command in shown)]
    lines += [
        "",
        "add-ros COMMAND --help describes one. Completion of words by the shell, for bash and zsh:",
        '  eval "$(register-python-argcomplete add-ros)"',
    ]
    return "\n".join(lines)


def _complete() -> None:
    """Answer the shell's question by which words the line can go on; ends the process. Argcomplete asks so."""
    import argcomplete

    argcomplete.autocomplete(_completing_parser(os.environ.get("COMP_LINE", "").split()[1:]))


def _completing_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """All commands, with the options of the one that is being typed alone: others would have to be imported."""
    typed, _ = _find(words)
    parser = argparse.ArgumentParser(prog="add-ros")
    top = parser.add_subparsers()
    groups: dict[str, argparse._SubParsersAction] = {}
    for command in COMMANDS:
        *group, name = command.name.split()
        place = top
        if group:
            if group[0] not in groups:
                groups[group[0]] = top.add_parser(group[0], help=f"{group[0]} ...").add_subparsers()
            place = groups[group[0]]
        place.add_parser(name, help=command.summary)
        if command is typed:
            place.choices[name] = importlib.import_module(command.module).parser(*command.first)
    return parser


def _how_to_install(package: str) -> str | None:
    name = package.split(".")[0]
    if name in _TORCH:
        return "make train-setup installs it (pip: the extra add_ros[train])"
    if name in _ROS:
        return "make setup installs it, or source a ROS 2 distribution"
    return None


if __name__ == "__main__":
    sys.exit(main())
