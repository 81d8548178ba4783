"""Topics are found by type or by name; what is missing, ambiguous or of another type is an error."""

import pytest
from rosbags.typesys import get_types_from_msg
from support.bag_bench import START, Bag, drive, indices

from add_ros.bags import types
from add_ros.bags.errors import BagError
from add_ros.bags.frames import BagFrames
from add_ros.bags.topics import TopicNames


def two_cameras(path):
    with Bag(path) as bag:
        for i in range(2):
            for name in ("front", "rear"):
                bag.info(i, topic=f"/{name}/camera_info")
                bag.image(i, topic=f"/{name}/image_rect")
    return path


def test_several_cameras_are_listed_and_one_is_chosen_by_its_image(tmp_path):
    path = two_cameras(tmp_path / "bag")
    with pytest.raises(
        BagError, match=r"2 topics that can be image: /front/image_rect \(.*2 messages\), /rear/image_r"
    ):
        BagFrames(path)
    frames = BagFrames(path, TopicNames(image="/rear/image_rect"))
    assert frames.topics.camera_info == "/rear/camera_info" and indices(frames) == [0, 1]
    frames = BagFrames(path, TopicNames(image="/rear/image_rect", camera_info="/front/camera_info"))
    assert frames.topics.camera_info == "/front/camera_info"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (TopicNames(image="/nowhere"), r"no topic /nowhere for image .*it has .*/front/image_rect"),
        (TopicNames(image="/front/camera_info"), r"/front/camera_info is a sensor_msgs/msg/CameraInfo, image must be"),
    ],
)
def test_names_that_do_not_fit_are_told(tmp_path, names, said):
    with pytest.raises(BagError, match=said):
        BagFrames(two_cameras(tmp_path / "bag"), names)


def test_what_is_missing_is_told_with_what_is_there(tmp_path):
    with Bag(tmp_path / "a") as bag:
        bag.image(0)
    with pytest.raises(
        BagError, match=r"no camera_info for /cam/image_rect: .*CameraInfo is needed.*it has /cam/image"
    ):
        BagFrames(tmp_path / "a")
    with Bag(tmp_path / "b") as bag:
        bag.info(0)
    with pytest.raises(BagError, match=r"no images: .*Image or .*CompressedImage is needed; it has /cam/camera_info"):
        BagFrames(tmp_path / "b")


def test_several_truths_are_listed_and_names_tell_truth_from_detections(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        bag.info(0), bag.image(0)
        for topic in ("/a/ground_truth", "/b/truth", "/detections"):
            bag.boxes(0, topic=topic)
    with pytest.raises(BagError, match=r"2 topics that can be ground_truth: /a/ground_truth .*/b/truth"):
        BagFrames(tmp_path / "bag")
    frames = BagFrames(tmp_path / "bag", TopicNames(ground_truth="/b/truth"))
    assert (frames.topics.ground_truth, frames.topics.detections) == ("/b/truth", "/detections")
    frames = BagFrames(tmp_path / "bag", TopicNames(ground_truth="/detections", detections="/b/truth"))
    assert (frames.topics.ground_truth, frames.topics.detections) == ("/detections", "/b/truth")


@pytest.mark.parametrize("detections", [None, "/detections"])
def test_any_part_of_a_name_may_tell_truth_from_detections(tmp_path, detections):
    with Bag(tmp_path / "bag") as bag:
        bag.info(0), bag.image(0)
        for topic in filter(None, ("/ground_truth/objects", detections)):
            bag.boxes(0, topic=topic)
    topics = BagFrames(tmp_path / "bag").topics
    assert (topics.ground_truth, topics.detections) == ("/ground_truth/objects", detections)


def test_unknown_message_types_beside_the_camera_do_not_matter(tmp_path):
    drive(tmp_path / "bag")
    store = types.typestore()
    store.register(get_types_from_msg("int32 value", "strange_msgs/msg/Odd"))
    with Bag(tmp_path / "odd") as bag:
        bag.connections["/odd"] = bag.writer.add_connection("/odd", "strange_msgs/msg/Odd", typestore=store)
        bag.writer.write(bag.connections["/odd"], START, b"\x00\x01\x00\x00\x07\x00\x00\x00")
        bag.info(0), bag.image(0)
    assert indices(BagFrames(tmp_path / "odd")) == [0]


@pytest.mark.parametrize("single", [False, True])
def test_a_type_whose_recorded_fields_are_others_is_told(tmp_path, single):
    """As vision_msgs before 4 has it."""
    store = types.typestore()
    del store.fielddefs["vision_msgs/msg/Detection3DArray"]
    store.register(get_types_from_msg("std_msgs/Header header\nstring old", "vision_msgs/msg/Detection3DArray"))
    with Bag(tmp_path / "bag") as bag:
        bag.info(0), bag.image(0)
        bag.connections["/truth"] = bag.writer.add_connection("/truth", types.DETECTIONS, typestore=store)
        bag.writer.write(bag.connections["/truth"], START, bytes(40))
    with pytest.raises(BagError, match=r"/truth: the recorded .* has other fields"):
        BagFrames(tmp_path / "bag" / "bag.mcap" if single else tmp_path / "bag")


@pytest.mark.parametrize("definition", ["@@", "strange_msgs/Odd field"])
def test_a_definition_that_cannot_be_understood_does_not_stop_what_decodes(tmp_path, definition):
    with Bag(tmp_path / "bag") as bag:
        bag.info(0)
        bag.connections["/cam/image_rect"] = bag.writer.add_connection(
            "/cam/image_rect", "sensor_msgs/msg/Image", msgdef=definition, rihs01="unknown"
        )
        bag.image(0)
    assert indices(BagFrames(tmp_path / "bag" / "bag.mcap")) == [0]
