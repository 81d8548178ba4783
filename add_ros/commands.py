"""The commands of `add-ros`. One line here makes a command, with its place in --help and in the shell's completion.

Modules are named, not imported: what a command needs (torch, rclpy) is imported once it is called. Each module has
`parser() -> argparse.ArgumentParser`, made by `training.arguments.command_parser`, and
`main(arguments: list[str] | None) -> int`, which returns the exit status.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command.

    name: its words, such as 'bag convert'.
    module: where its `parser` and `main` are.
    summary: what it does, for the list of commands.
    first: words that `main` gets before the user's, and `parser` as arguments.
    """

    name: str
    module: str
    summary: str
    first: tuple[str, ...] = ()


GROUPS = {
    "train": (
        Command("fit", "training.__main__", "train a detector, or go on with a training", ("fit",)),
        Command("validate", "training.__main__", "score a checkpoint on the validation frames", ("validate",)),
        Command("test", "training.__main__", "write the result files of the test frames", ("test",)),
        Command("seeds", "training.seeds", "train with several seeds; mean and spread"),
        Command("recipes", "training.recipes", "list the configurations that come with the package"),
        Command("memory", "training.memory", "say how much memory a recipe needs, and what fits which GPU"),
        Command("calibrate", "training.calibrate_scores", "measure how often detections of a score are right"),
        Command("export", "training.export", "write a checkpoint as .onnx and .safetensors"),
        Command("world", "training.world", "render frames of the synthetic world"),
    ),
    "score": (
        Command("predict", "training.predict", "run a model over KITTI frames"),
        Command("nuscenes", "training.nuscenes", "run a model over nuScenes; a file for its evaluation"),
        Command("track", "training.track", "follow objects through a drive; scores and a page"),
        Command("evaluate", "training.evaluate", "KITTI's average precision of result files"),
        Command("report", "training.report.__main__", "one HTML page about results"),
    ),
    "bags": (
        Command("bag convert", "add_ros.bags.convert", "make a rosbag2 from images or the synthetic world"),
        Command("bag play", "add_ros.bags.play", "play a rosbag2 over DDS"),
        Command("bag record", "add_ros.bags.record", "record topics into a rosbag2"),
        Command("bag export", "add_ros.export_bag", "make a data set to train on from bags"),
        Command("bag evaluate", "add_ros.evaluate_bag", "score a model or recorded detections on a bag"),
    ),
    "data": (
        Command("data check", "training.inspect_data", "look at a data set before training; a page", ("check",)),
        Command("data classes", "training.inspect_data", "measure classes of your own from labels", ("classes",)),
        Command("labels export", "training.labels", "labels or pre-labels to a labelling tool's files", ("export",)),
        Command("labels import", "training.labels", "a labelling tool's files to a data set's labels", ("import",)),
    ),
    "run": (
        Command("node", "add_ros.node.detector_node", "the detector node; takes --ros-args", ("add-ros node",)),
        Command("demo", "add_ros.demo.__main__", "a bag through the node, and a page that shows the result"),
    ),
}
COMMANDS = tuple(command for group in GROUPS.values() for command in group)
