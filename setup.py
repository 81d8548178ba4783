"""The ament_python package: colcon and pip read it."""

from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "add_ros"


def requirements(name: str) -> list:
    """The lines of a file in requirements/, without comments."""
    lines = (Path(__file__).resolve().parent / "requirements" / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-"))]


setup(
    name=PACKAGE,
    version="0.2.0",
    description="Monocular 3D object detection for ROS 2, with training and scoring on KITTI",
    author="add_ros maintainers",
    author_email="add_ros@users.noreply.github.com",
    maintainer="add_ros maintainers",
    maintainer_email="add_ros@users.noreply.github.com",
    license="Apache-2.0 AND CC-BY-NC-SA-4.0",
    python_requires=">=3.10",
    packages=find_packages(include=["add_ros", "add_ros.*", "add_model", "add_model.*", "training", "training.*"]),
    package_data={"": ["*.j2", "*.html", "*.css", "*.js", "*.json", "*.txt"], "add_model": ["weights/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", sorted(glob("launch/*.launch.py"))),
        (f"share/{PACKAGE}/config", sorted(glob("config/*.*"))),
        *((f"share/{PACKAGE}/{folder}", sorted(glob(f"{folder}/*.*"))) for folder in sorted(glob("config/train/*"))),
    ],
    install_requires=requirements("base.txt"),
    extras_require={name: requirements(f"{name}.txt") for name in ("train", "test", "openvino", "cluster")},
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "add-ros = add_ros.__main__:main",
            "detector = add_ros.node.detector_node:main",
            "lifecycle_detector = add_ros.node.lifecycle_node:main",
            "bag_convert = add_ros.bags.convert:main",
            "bag_play = add_ros.bags.play:main",
            "bag_record = add_ros.bags.record:main",
            "export_bag = add_ros.export_bag:main",
            "evaluate_bag = add_ros.evaluate_bag:main",
            "demo = add_ros.demo.__main__:main",
        ],
    },
)
