"""vision_msgs on the wire: a type hash that differs from upstream's would keep our processes from hearing others."""

import importlib
import json
import os
from pathlib import Path

import pytest
import rclpy
import vision_msgs
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from support.paths import ROOT
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

SHARE = Path(vision_msgs.__file__).parents[4] / "share" / "vision_msgs" / "msg"
MESSAGES = ROOT / "runtime" / "vision_msgs" / "msg"

# REP-2016 hashes of upstream vision_msgs 4.1.1.
UPSTREAM = {
    "BoundingBox2D": "008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "BoundingBox2DArray": "2464e82838009386d371b523211c21c91d74d313fcdd6788223c531d621cf691",
    "BoundingBox3D": "bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "BoundingBox3DArray": "a81938db9576b10c2eecd7c5a5da3eac496efd00221b25ed051dfbc81fb56da6",
    "Classification": "f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143",
    "Detection2D": "0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "Detection2DArray": "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "Detection3D": "ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "Detection3DArray": "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "ObjectHypothesis": "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "Point2D": "eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "Pose2D": "b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
    "VisionClass": "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
    "VisionInfo": "95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284",
}


def test_all_upstream_messages_are_defined():
    assert {file.stem for file in MESSAGES.glob("*.msg")} == set(UPSTREAM)


@pytest.mark.parametrize("name", UPSTREAM)
def test_built_messages_have_upstreams_hash(name):
    description = json.loads((SHARE / f"{name}.json").read_text())
    hashes = {entry["type_name"]: entry["hash_string"] for entry in description["type_hashes"]}
    assert hashes[f"vision_msgs/msg/{name}"] == f"RIHS01_{UPSTREAM[name]}"
    assert hasattr(importlib.import_module("vision_msgs.msg"), name)


def test_definitions_hash_to_upstreams_in_rosbags():
    store = get_typestore(Stores.LATEST)
    types = {}
    for file in MESSAGES.glob("*.msg"):
        types.update(get_types_from_msg(file.read_text(), f"vision_msgs/msg/{file.stem}"))
    store.register(types)
    got = {name: store.hash_rihs01(f"vision_msgs/msg/{name}") for name in UPSTREAM}
    assert got == {name: f"RIHS01_{digest}" for name, digest in UPSTREAM.items()}


def test_the_graph_announces_upstreams_hash():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(os.environ["ROS_DOMAIN_ID"]))
    node = rclpy.create_node("hash_probe", context=context)
    try:
        node.create_publisher(Detection3DArray, "hash_probe_topic", 1)
        (endpoint,) = node.get_publishers_info_by_topic("hash_probe_topic")
        assert bytes(endpoint.topic_type_hash.value).hex() == UPSTREAM["Detection3DArray"]
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_messages_survive_serialization():
    msg = Detection3DArray()
    msg.header.frame_id = "camera"
    detection = Detection3D(id="7")
    detection.bbox.size.x, detection.bbox.center.position.z = 4.2, 31.5
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = "Car", 0.75
    result.pose.covariance[14] = 2.5
    detection.results.append(result)
    msg.detections.append(detection)
    assert deserialize_message(serialize_message(msg), Detection3DArray) == msg
