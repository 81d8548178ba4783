"""The demo's bag for Foxglove and RViz: what was played and what the node said of it, at the images' times."""

from __future__ import annotations

from pathlib import Path

from add_ros.bags import messages, types
from add_ros.bags.reading import decoded, open_bag, raw_messages
from add_ros.bags.write import finish, naming, open_writer
from add_ros.demo.pipeline import DETECTIONS, MARKERS


def write_viewer_bag(path: Path, played: Path, recorded: Path) -> None:
    """Write all of `played`, and the detections and markers of `recorded`, as the bytes that they were, to a new bag.

    Raises BagError where a bag cannot be read or written.
    """
    store = types.typestore()
    writer, failed = open_writer(path, "mcap"), True
    try:
        with open_bag(played) as reader:
            connections = {
                c.topic: writer.add_connection(
                    c.topic, c.msgtype, typestore=store, offered_qos_profiles=c.ext.offered_qos_profiles
                )
                for c in reader.connections
            }
            rows = [(time, c.topic, bytes(data)) for c, time, data in raw_messages(reader)]
        with open_bag(recorded) as reader:
            chosen = [c for c in reader.connections if c.topic in (DETECTIONS, MARKERS)]
            for c in chosen:
                connections[c.topic] = writer.add_connection(
                    c.topic, c.msgtype, typestore=store, offered_qos_profiles=c.ext.offered_qos_profiles
                )
            for c, _, data in raw_messages(reader, chosen):
                message = decoded(store, c, data)
                heads = [message] if c.topic == DETECTIONS else [m for m in message.markers if m.header.frame_id]
                if heads:  # what clears all markers at the start and the end has no stamp
                    rows.append((messages.stamp_of(heads[0]), c.topic, bytes(data)))
        with naming(path):
            for time, topic, data in sorted(rows, key=lambda row: row[0]):
                writer.write(connections[topic], time, data)
        failed = False
    finally:
        finish(writer, path, failed)
