"""Somebody who looks for people, without a model."""

from __future__ import annotations

import time

from sensor_msgs.msg import Image

from smap_ros.bags.messages import image_from_message
from smap_ros.msg import BodyArray
from smap_ros.nodes import qos


class Consumer:
    """Answers each image with the people in it: none, after a while."""

    def __init__(self, observer, delay=0.0):
        self.images = []
        self._answers = observer.publisher(BodyArray, "bodies_raw")
        self._delay = delay
        observer.node.create_subscription(Image, "image", self._take, qos.SENSOR)

    def _take(self, message):
        self.images.append(message)
        time.sleep(self._delay)
        self._answers.publish(BodyArray(header=message.header))

    def brightness(self):
        return [int(image_from_message(message).mean()) for message in self.images]
