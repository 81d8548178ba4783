"""A subscription as the first filter of a chain."""

from __future__ import annotations

from typing import Any

from message_filters.simple_filter import SimpleFilter


class Subscriber(SimpleFilter):
    """`Subscriber(node, msg_type, topic, **kwargs)`: pass on what a topic brings.

    Keyword arguments go to `node.create_subscription`; `qos_profile` is a depth of 10 unless given. Attributes of the
    subscription can be read from this object as well.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.node = args[0]
        self.topic = args[2]
        kwargs.setdefault("qos_profile", 10)
        self.sub = self.node.create_subscription(*args[1:], self.callback, **kwargs)

    def callback(self, msg: Any) -> None:
        self.signalMessage(msg)

    def getTopic(self) -> str:
        return self.topic

    def __getattr__(self, key: str) -> Any:
        if key == "sub":
            raise AttributeError("the subscription was not created")
        return getattr(self.sub, key)
