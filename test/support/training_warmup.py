"""What each small training of the tests would do first, done once in the server that they are forked off.

`support.training_bench` has it imported there. It starts no thread, since none would survive the fork: no step of torch
is made.
"""

import contextlib
import io

import cv2
import torch.utils.tensorboard  # noqa: F401
from support.paths import CONFIG

import training.command  # noqa: F401
from training.__main__ import main
from training.data.world import World
from training.plots import draw

cv2.setNumThreads(0)  # as the loaders do
for seed, streets in ((0, 12), (1, 3)):  # those of three small epochs and of their validation
    for index in range(streets):
        World(width=64, height=32, seed=seed).sample(index)  # streets and textures are kept
draw([{"step": 0, "epoch": 0, "train/loss": 1.0}], "")
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main(["fit", "--config", str(CONFIG / "train/recipes/monodle_plain_world.yaml"), "--print_config"])
