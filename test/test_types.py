"""The types of add_model's public modules hold, by mypy in strict mode; pyproject.toml names the modules."""

import subprocess
import sys

from support.paths import ROOT


def test_public_modules_are_strictly_typed():
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
