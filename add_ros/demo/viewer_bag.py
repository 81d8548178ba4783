"""The demo's bag for Foxglove and RViz: what was played and what the node said of it, at the images' times."""

from __future__ import annotations

import heapq
from contextlib import ExitStack
from pathlib import Path

from add_ros.bags import messages, types
from add_ros.bags.reading import decoded, open_bag, raw_messages
from add_ros.bags.writing import finish, naming, open_writer
from add_ros.demo.pipeline import DETECTIONS, MARKERS


def write_viewer_bag(path: Path, played: Path, recorded: Path) -> None:
    """Write all of `played`, and the detections and markers of `recorded`, as the bytes that they were, to a new bag.

    Raises BagError where a bag cannot be read or written.
    """
    store = types.typestore()
    with ExitStack() as stack:
        writer = open_writer(path, "mcap")
        stack.push(lambda kind, *_: finish(writer, path, kind is not None))
        source, results = (stack.enter_context(open_bag(bag)) for bag in (played, recorded))
        chosen = [c for c in results.connections if c.topic in (DETECTIONS, MARKERS)]
        connections = {
            c.topic: writer.add_connection(
                c.topic, c.msgtype, typestore=store, offered_qos_profiles=c.ext.offered_qos_profiles
            )
            for c in (*source.connections, *chosen)
        }
        answers = []
        for c, _, data in raw_messages(results, chosen):
            message = decoded(store, c, data)
            heads = [message] if c.topic == DETECTIONS else [m for m in message.markers if m.header.frame_id]
            if heads:  # what clears all markers at the start and the end has no stamp
                answers.append((messages.stamp_of(heads[0]), c.topic, bytes(data)))
        answers.sort(key=lambda row: row[0])
        frames = ((time, c.topic, data) for c, time, data in raw_messages(source))
        for time, topic, data in heapq.merge(frames, answers, key=lambda row: row[0]):
            with naming(path):
                writer.write(connections[topic], time, data)
