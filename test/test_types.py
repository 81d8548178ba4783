"""The types of add_model's public modules hold, by mypy in strict mode; pyproject.toml names the modules."""

import subprocess
import sys

import pytest
from support.paths import ROOT

pytestmark = pytest.mark.slow


def test_public_modules_are_strictly_typed():
    # NumPy for Python 3.10 does not say what arrays hold by default.
    bare = ["--allow-any-generics"] if sys.version_info < (3, 11) else []
    done = subprocess.run([sys.executable, "-m", "mypy", *bare], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
