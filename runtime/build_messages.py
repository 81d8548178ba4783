"""Build a package of messages against the ROS wheels of the virtual environment that runs this file, and install it.

    .venv/bin/python runtime/build_messages.py [SOURCE PREFIX]

By default vision_msgs, into the environment. Does nothing where PREFIX holds a build of these very message files.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "vision_msgs"
PREFIX = Path(sys.prefix)


class BuildError(Exception):
    """The message says what is missing and how to get it."""


def fingerprint(source: Path) -> str:
    """What the result depends on: the sources, this Python and the ROS generators installed beside it."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {sysconfig.get_platform()}".encode())
    for file in sorted([*source.rglob("*.msg"), source / "CMakeLists.txt", source / "package.xml"]):
        digest.update(file.name.encode() + file.read_bytes())
    for wheel in sorted(p.name for p in Path(sysconfig.get_path("purelib")).glob("ros_*.dist-info")):
        digest.update(wheel.encode())
    return digest.hexdigest()


def python_include() -> Path:
    """The folder with Python.h."""
    folder = Path(sysconfig.get_path("include"))
    if not (folder / "Python.h").is_file():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise BuildError(
            f"Python's C headers are missing ({folder}/Python.h); install them:\n"
            f"    sudo apt-get install -y python{version}-dev        (Debian, Ubuntu)\n"
            f"    sudo dnf install -y python{version}-devel          (Fedora)"
        )
    return folder


def compiler() -> str:
    """The C compiler: $CC, else cc or gcc."""
    for name in filter(None, (os.environ.get("CC"), "cc", "gcc")):
        if found := shutil.which(name):
            return found
    raise BuildError(
        "a C and C++ compiler is missing; install it:\n"
        "    sudo apt-get install -y gcc g++           (Debian, Ubuntu)\n"
        "    sudo dnf install -y gcc gcc-c++           (Fedora)"
    )


def mend_include_paths(python: Path, numpy: Path) -> int:
    """Point the wheels' CMake exports at this Python; they carry the include folders of the machine that built them.

    Returns the number of files changed.
    """
    changed = 0
    wanted = f'INTERFACE_INCLUDE_DIRECTORIES "{python};{numpy}"'
    baked = re.compile(r'INTERFACE_INCLUDE_DIRECTORIES "[^";]*/include/python3\.\d+t?;[^";]*/numpy/_?core/include"')
    for file in (PREFIX / "share").glob("*/cmake/*rosidl_generator_py*Export.cmake"):
        text = file.read_text()
        mended = baked.sub(lambda _: wanted, text)
        if mended != text:
            file.write_text(mended)
            changed += 1
    return changed


def environment() -> dict[str, str]:
    """The environment of cmake: the wheels alone, nothing of a ROS distribution that a shell may have sourced."""
    foreign = ("AMENT_", "COLCON_", "CMAKE_", "ROS_", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")
    env = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    env.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    env["AMENT_PREFIX_PATH"] = env["CMAKE_PREFIX_PATH"] = str(PREFIX)
    env["PATH"] = os.pathsep.join([str(PREFIX / "bin"), env.get("PATH", os.defpath)])
    env["PYTHONNOUSERSITE"] = "1"
    return env


def run(step: str, *command: str) -> None:
    """Run one step of the build, silent unless it fails."""
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-40:])
        raise BuildError(
            f"building the messages stopped at {step}:\n{tail}\n"
            "If the environment is damaged or old, build it anew:\n    make clean-venv setup"
        )


def build(source: Path = SOURCE, prefix: Path = PREFIX, **more: object) -> None:
    """Generate, compile and install a folder's messages; by default vision_msgs, into this environment.

    What more is given goes to cmake as options.
    """
    include, cc = python_include(), compiler()
    try:
        import numpy
    except ImportError as error:
        raise BuildError(f"numpy is missing in {PREFIX} ({error}); run:\n    make setup") from error
    if not (PREFIX / "share" / "rosidl_default_generators").is_dir():
        raise BuildError(f"the ROS wheels are missing in {PREFIX}; run:\n    make setup")
    mend_include_paths(include, Path(numpy.get_include()))
    with tempfile.TemporaryDirectory(prefix=f"{source.name}_") as folder:
        options = {
            "CMAKE_INSTALL_PREFIX": prefix,
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_C_COMPILER": cc,
            "BUILD_TESTING": "OFF",
            "Python3_EXECUTABLE": sys.executable,
            "Python3_INCLUDE_DIR": include,
            "Python3_NumPy_INCLUDE_DIR": numpy.get_include(),
            **more,
        }
        run(
            "cmake",
            "cmake",
            "-G",
            "Ninja",
            "-S",
            str(source),
            "-B",
            folder,
            *(f"-D{k}={v}" for k, v in options.items()),
        )
        run("compilation", "cmake", "--build", folder)
        run("installation", "cmake", "--install", folder)


def main() -> int:
    if sys.prefix == sys.base_prefix:
        print("error: run this with the Python of a virtual environment; `make setup` does", file=sys.stderr)
        return 1
    source, prefix = map(Path, sys.argv[1:]) if sys.argv[1:] else (SOURCE, PREFIX)
    mark = prefix / "share" / source.name / "built_from"
    if mark.is_file() and mark.read_text().strip() == fingerprint(source):
        return 0
    print(f"building {source.name} (about half a minute, once)", flush=True)
    try:
        build(source, prefix)
        mark.write_text(fingerprint(source) + "\n")
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
