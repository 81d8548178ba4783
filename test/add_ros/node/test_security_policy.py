"""The SROS2 policy that ships: what a running node does is allowed, and nothing else that it could not do."""

import xml.etree.ElementTree as ElementTree

import pytest
from support.detector_bench import MODEL, Bench, DetectorProcess
from support.paths import ROOT

pytestmark = pytest.mark.slow
# Allowed, and used only with parameters that are not set here.
OPTIONAL = {"/image/compressed", "/tf", "/tf_static", "/clock", "/detected_objects", "/tracked_objects"}
OPTIONAL |= {"/tracks", "/track_markers", "/track_velocities"}


def allowed(kind, permission):
    profile = ElementTree.parse(ROOT / "config" / "detector.policy.xml").find(".//profile[@node='detector']")
    names = [entry.text for group in profile.findall(kind) if group.get(permission) for entry in group]
    full = {name if name.startswith("/") else f"/{name}" for name in names}
    return {name.replace("/~/", "/detector/") for name in full}


def test_the_policy_is_what_a_running_node_does():
    bench = Bench()
    own = ("detector", "/")
    try:
        with DetectorProcess(model=MODEL, device="cpu", lazy=False) as detector:
            detector.wait_for_log("ready:")
            bench.wait_for_subscriber()
            graph = bench.node
            published = {name for name, _ in graph.get_publisher_names_and_types_by_node(*own)}
            subscribed = {name for name, _ in graph.get_subscriber_names_and_types_by_node(*own)}
            served = {name for name, _ in graph.get_service_names_and_types_by_node(*own)}
            assert detector.stop() == 0
    finally:
        bench.close()
    assert published <= allowed("topics", "publish") <= published | OPTIONAL
    assert subscribed <= allowed("topics", "subscribe") <= subscribed | OPTIONAL | {"/parameter_events"}
    assert served == allowed("services", "reply")
