"""A bag of a robot that drives past fixed points: cameras that look down, a spinning lidar, tf, labels.

Everything is computed here from the world's geometry, without the code under test.
"""

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from scipy.spatial.transform import Rotation
from support.bag_bench import STORE, pixels

from add_model.geometry.camera import Camera
from add_ros.bags import messages

START = 1_700_000_000 * 10**9
PERIOD = 100_000_000
CAMERA = Camera.pinhole(60, 60, 31.5, 23.5, 64, 48)
OPTICAL = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # columns: a level camera's x, y, z in base_link
POINTS = np.random.default_rng(5).uniform([4, -4, 0], [40, 4, 3], (400, 3))  # in odom
BOX = np.array([20.0, 1.0, 0.6]), np.array([2.0, 1.0, 1.2]), 0.4  # centre in odom, size, yaw


def matrix(rotation, position):
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = rotation, position
    return made


def base_pose(time):
    """base_link in odom: 8 m/s ahead and turning; time in seconds."""
    return matrix(Rotation.from_euler("z", 0.2 * time).as_matrix(), (8 * time, 0.1 * time, 0))


def eye_pose(pitch=0.0, roll=0.0):
    """A camera's optical frame in base_link, which looks down by `pitch` and rolls by `roll` degrees."""
    lean = Rotation.from_euler("xyz", [roll, pitch, 0], degrees=True).as_matrix()
    return matrix(lean @ OPTICAL, (0.5, 0.0, 1.1))


LIDAR_POSE = matrix(Rotation.from_euler("zx", [90, 3], degrees=True).as_matrix(), (0.2, 0.0, 1.5))


def moved(pose, points):
    return points @ pose[:3, :3].T + pose[:3, 3]


def stamped(parent, child, pose, stamp):
    """A TransformStamped of a child's pose in its parent."""
    message = messages.transform(STORE, np.linalg.inv(pose)[:3], stamp, parent, child)
    return message.transforms[0]


def spinning_scan(start, period=PERIOD):
    """(points (N, 3) in the lidar's frame as measured over a sweep from `start`, their offsets in ns)."""
    offsets = np.linspace(0, period, len(POINTS)).astype(int)
    times = (start + offsets - START) / 1e9
    # The inverses of all base poses at once.
    turned = Rotation.from_rotvec(np.outer(-0.2 * times, [0, 0, 1]))
    in_base = turned.apply(POINTS - np.stack([8 * times, 0.1 * times, 0 * times], axis=1))
    return moved(np.linalg.inv(LIDAR_POSE), in_base), offsets


def cloud(start):
    made, point_field = STORE.types, STORE.types["sensor_msgs/msg/PointField"]
    points, offsets = spinning_scan(start)
    rows = np.zeros(len(points), [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("t", "<u4")])
    rows["x"], rows["y"], rows["z"], rows["t"] = *points.T, offsets
    fields = [point_field(n, 4 * i, 6 if n == "t" else 7, 1) for i, n in enumerate("xyzt")]
    return made["sensor_msgs/msg/PointCloud2"](
        messages.header(STORE, start, "lidar"), 1, len(rows), fields, False, 16, 16 * len(rows),
        rows.view(np.uint8), True,
    )  # fmt: skip


def box_pose():
    make, (centre, size, yaw) = STORE.types, BOX
    turn = Rotation.from_euler("z", yaw).as_quat()
    pose = make["geometry_msgs/msg/Pose"](
        make["geometry_msgs/msg/Point"](*map(float, centre)), make["geometry_msgs/msg/Quaternion"](*map(float, turn))
    )
    return pose, make["geometry_msgs/msg/Vector3"](*map(float, size))


def detection_labels(stamp, frame="odom"):
    make, (pose, size) = STORE.types, box_pose()
    result = make["vision_msgs/msg/ObjectHypothesisWithPose"](
        make["vision_msgs/msg/ObjectHypothesis"]("forklift", 1.0), messages.empty_pose(STORE)
    )
    head = messages.header(STORE, stamp, frame)
    found = make["vision_msgs/msg/Detection3D"](head, [result], make["vision_msgs/msg/BoundingBox3D"](pose, size), "7")
    return make["vision_msgs/msg/Detection3DArray"](head, [found])


def marker_labels(stamp, frame="odom"):
    make, (pose, size) = STORE.types, box_pose()
    kind, colour = make["visualization_msgs/msg/Marker"], make["std_msgs/msg/ColorRGBA"](0.0, 0.0, 0.0, 1.0)
    time = make["builtin_interfaces/msg/Duration"](0, 0)
    nothing = make["sensor_msgs/msg/CompressedImage"](messages.header(STORE, 0, ""), "", np.empty(0, np.uint8))
    mesh = make["visualization_msgs/msg/MeshFile"]("", np.empty(0, np.uint8))
    markers = [
        kind(
            messages.header(STORE, stamp, frame), "forklift", i, shape, 0, pose, size, colour, time, False,
            [], [], "", nothing, [], "", "", mesh, False,
        )
        for i, shape in enumerate((1, 9))  # a cube, and a text that is no box
    ]  # fmt: skip
    return make["visualization_msgs/msg/MarkerArray"](markers)


def robot_bag(
    path,
    count=8,
    labels=detection_labels,
    pitch=5.0,
    roll=0.0,
    cameras=("/front",),
    start=START,
    tf_late=True,
    edit=lambda events: events,
):
    """Images at 10 Hz, each 30 ms after the start of a sweep; /tf at 50 Hz; /tf_static recorded last if `tf_late`.

    `edit` makes other events (nanoseconds, topic, message) of these.
    """
    events = []
    for i in range(count):
        stamp = start + i * PERIOD + 30_000_000
        for camera in cameras:
            frame = f"{camera.strip('/')}_optical"
            info = messages.camera_info(STORE, CAMERA, stamp, frame)
            events.append((stamp + 1, f"{camera}/camera_info", info))
            events.append((stamp + 2, f"{camera}/image_raw", messages.image(STORE, pixels(i), stamp, frame)))
        if labels:
            events.append((stamp + 5_000_000, "/labels", labels(stamp)))
        events.append((stamp + 80_000_000, "/points", cloud(start + i * PERIOD)))
    for k in range(-5, 5 * count + 20):
        stamp = start + k * PERIOD // 5
        pose = base_pose((stamp - START) / 1e9)
        events.append(
            (stamp + 1000, "/tf", STORE.types["tf2_msgs/msg/TFMessage"]([stamped("odom", "base_link", pose, stamp)]))
        )
    fixed = [stamped("base_link", "lidar", LIDAR_POSE, start)]
    fixed += [stamped("base_link", f"{c.strip('/')}_optical", eye_pose(pitch, roll), start) for c in cameras]
    when = start + (count + 5) * PERIOD if tf_late else start
    events.append((when, "/tf_static", STORE.types["tf2_msgs/msg/TFMessage"](fixed)))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {}
        for time, topic, message in sorted(edit(events), key=lambda event: event[0]):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], time, STORE.serialize_cdr(message, kind))
    return path
