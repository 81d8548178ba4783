"""Make a virtual environment that holds ROS 2 from PyPI and what this package needs; `make setup` and `make test` do.

    python3 runtime/setup_venv.py VENV REQUIREMENTS...

Needs nothing but Python itself. Each failure names what is missing and the command that installs it.
"""

# Written so that Python 3.6 can read it, to tell its user which Python is needed.
import argparse
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ((3, 10), (3, 14))
# The environment of a sourced ROS distribution: its packages and libraries would be taken for the wheels'.
FOREIGN = ("AMENT_", "COLCON_", "CMAKE_PREFIX_PATH", "ROS_", "RMW_", "PYTHONPATH", "PYTHONHOME", "_ROS_WHEELS_")


class SetupError(Exception):
    """The message says what is missing and how to get it."""


def check_platform() -> None:
    """The ROS wheels on PyPI are for glibc Linux on x86-64 alone."""
    distribution = "use a ROS 2 distribution there (https://docs.ros.org), then rosdep install and colcon build"
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise SetupError(f"PyPI has no ROS for {platform.system()} on {platform.machine()}; {distribution}")
    libc, version = platform.libc_ver()
    if libc != "glibc" or tuple(map(int, version.split(".")[:2])) < (2, 28):
        found = f"{libc} {version}".strip() or "another C library, like musl in Alpine"
        raise SetupError(f"PyPI's ROS needs glibc 2.28 or newer, this system has {found}; {distribution}")


def check_python() -> None:
    """A supported Python that can make virtual environments."""
    version = sys.version_info[:2]
    if not PYTHONS[0] <= version <= PYTHONS[1]:
        first, last = (".".join(map(str, v)) for v in PYTHONS)
        raise SetupError(
            f"Python {version[0]}.{version[1]} ({sys.executable}) is not supported; {first} to {last} are:\n"
            f"    make setup PYTHON=python{last}\n"
            "or install one first:\n"
            "    sudo apt-get install -y python3 python3-venv python3-dev        (Debian, Ubuntu)"
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        raise SetupError(
            f"this Python cannot make virtual environments ({error.name} is missing); install it:\n"
            f"    sudo apt-get install -y python{version[0]}.{version[1]}-venv        (Debian, Ubuntu)"
        ) from error


def check_compiler() -> None:
    """What building vision_msgs needs, asked before anything is downloaded."""
    missing = [] if shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") else ["gcc"]
    if not (shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++")):
        missing.append("g++")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        missing.append(f"python{sys.version_info.major}.{sys.version_info.minor}-dev")
    if missing:
        fedora = {"g++": "gcc-c++"}
        names = " ".join(fedora.get(name, name.replace("-dev", "-devel")) for name in missing)
        raise SetupError(
            f"building the message package needs {', '.join(missing)}; install with:\n"
            f"    sudo apt-get install -y {' '.join(missing)}        (Debian, Ubuntu)\n"
            f"    sudo dnf install -y {names}        (Fedora)"
        )


def note_distribution() -> None:
    """Say that a machine with ROS needs none of this."""
    distribution = os.environ.get("ROS_DISTRO") or next((p.name for p in Path("/opt/ros").glob("*/")), None)
    if distribution:
        print(
            f"note: this machine has ROS {distribution}. The virtual environment is not needed there: rosdep install, "
            "colcon build and ros2 launch add_ros detector.launch.py (see README). It is made all the same, and kept "
            "apart from the distribution."
        )


def environment() -> dict:
    """This process's environment without a sourced ROS distribution."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    if os.environ.get("AMENT_PREFIX_PATH"):
        env.pop("LD_LIBRARY_PATH", None)
    return env


def run(log: Path, *command: str) -> bool:
    """Run a command with its output in the log; whether it succeeded."""
    with log.open("a") as out:
        out.write(f"\n$ {' '.join(command)}\n")
        out.flush()
        return subprocess.run(command, env=environment(), stdout=out, stderr=subprocess.STDOUT).returncode == 0


def make_venv(folder: Path) -> Path:
    """The Python of the virtual environment, which is made unless it is there."""
    python = folder / "bin" / "python"
    if not folder.exists():
        print(f"making {folder} with Python {platform.python_version()}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], env=environment(), check=True)
    ask = "import pip, sys; print('%d.%d' % sys.version_info[:2])"
    env = {**environment(), "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
    done = (
        subprocess.run([str(python), "-c", ask], env=env, capture_output=True, text=True) if python.exists() else None
    )
    again = f"remove it and start again:\n    make clean-venv setup PYTHON={sys.executable}"
    if done is None or done.returncode:
        raise SetupError(f"{folder} is no working virtual environment; {again}")
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    if done.stdout.strip() != wanted:
        raise SetupError(f"{folder} was made with Python {done.stdout.strip()}, this is {wanted}; {again}")
    return python


def install(python: Path, log: Path, requirements: list) -> None:
    """Install the requirements at the versions of requirements/constraints.txt."""
    names = ", ".join(file.stem for file in requirements)
    print(f"installing the requirements ({names}): a minute or more; log in {log}", flush=True)
    files = [part for file in requirements for part in ("-r", str(file))]
    constraints = ROOT / "requirements" / "constraints.txt"
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    if not run(log, *pip, "-c", str(constraints), *files):
        raise SetupError(f"{pip_failure(log)}\nThe whole log is in {log}. Then run the same command again.")


def pip_failure(log: Path) -> str:
    """Why pip failed, from its log."""
    text = log.read_text(errors="replace")
    if any(sign in text for sign in ("connection broken", "ConnectionError", "Max retries exceeded")):
        return "the package index cannot be reached; check the network (behind a proxy: set HTTPS_PROXY)."
    if "No space left" in text:
        return "the disk is full; 1 GB is needed, several with training."
    errors = [line for line in text.splitlines() if "ERROR" in line or "error:" in line][-5:]
    return "pip could not install the requirements (does the package index have them all?):\n    " + "\n    ".join(
        errors
    )


def add_paths(python: Path) -> None:
    """Put this repository and the ROS packages that PyPI lacks on the environment's path, behind everything else."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([str(python), "-c", ask], env=environment(), text=True).strip())
    lines = [os.path.relpath(folder, site) for folder in (ROOT, ROOT / "runtime" / "python")]
    (site / "add_ros.pth").write_text("\n".join(lines) + "\n")


def add_command(python: Path) -> None:
    """Write the command add-ros, as installing the package would."""
    command = python.parent / "add-ros"
    lines = [
        f"#!{python}",
        "# PYTHON_ARGCOMPLETE_OK",
        "import sys",
        "",
        "from add_ros.__main__ import main",
        "",
        "sys.exit(main())",
    ]
    command.write_text("\n".join(lines) + "\n")
    command.chmod(0o755)


def check_imports(python: Path) -> None:
    """Try what the node imports."""
    program = "import rclpy, cv2, onnxruntime, cv_bridge, message_filters; from vision_msgs.msg import Detection3DArray"
    done = subprocess.run([str(python), "-c", program], env=environment(), capture_output=True, text=True, cwd="/")
    if done.returncode:
        raise SetupError(
            f"the environment is complete, but ROS does not start in it:\n{done.stderr.strip()}\n"
            "Make it anew:\n    make clean-venv setup"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("venv", type=Path, help="the folder of the virtual environment")
    parser.add_argument("requirements", type=Path, nargs="+", help="requirements files to install")
    args = parser.parse_args()
    try:
        check_platform()
        check_python()
        check_compiler()
        note_distribution()
        venv = Path(os.path.abspath(args.venv))
        python = make_venv(venv)
        install(python, venv / "setup.log", args.requirements)
        add_paths(python)
        add_command(python)
        builder = str(ROOT / "runtime" / "build_messages.py")
        if subprocess.run([str(python), builder], env=environment()).returncode:
            return 1
        check_imports(python)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: {' '.join(map(str, error.cmd))} failed with code {error.returncode}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
