"""One namespace for everything: with `__ns:=/left` a node speaks below /left, wherever names of topics come from.

Embodiments and bags know absolute names without a namespace, so that one arm's recordings serve another's.
"""

from __future__ import annotations

from typing import Any

from rclpy.node import Node

_GLOBAL = ("/parameter_events", "/rosout", "/clock", "/diagnostics", "/tf", "/tf_static")


def under(node: Node, name: str) -> str:
    """An absolute name below the node's namespace; names that a whole graph shares, and relative ones, stay as they are."""
    if not name.startswith("/") or name in _GLOBAL:
        return name
    namespace: str = node.get_namespace().rstrip("/")
    return name if name.startswith(f"{namespace}/") and namespace else namespace + name


class NamespacedNode(Node):
    """A node whose publishers, subscriptions, services, clients and questions about topics all stand below its namespace."""

    def create_publisher(self, msg_type: Any, topic: str, *args: Any, **options: Any) -> Any:
        """As `Node.create_publisher`."""
        return super().create_publisher(msg_type, under(self, topic), *args, **options)

    def create_subscription(self, msg_type: Any, topic: str, *args: Any, **options: Any) -> Any:
        """As `Node.create_subscription`."""
        return super().create_subscription(msg_type, under(self, topic), *args, **options)

    def create_service(self, srv_type: Any, srv_name: str, *args: Any, **options: Any) -> Any:
        """As `Node.create_service`."""
        return super().create_service(srv_type, under(self, srv_name), *args, **options)

    def create_client(self, srv_type: Any, srv_name: str, *args: Any, **options: Any) -> Any:
        """As `Node.create_client`."""
        return super().create_client(srv_type, under(self, srv_name), *args, **options)

    def count_publishers(self, topic_name: str) -> int:
        """As `Node.count_publishers`."""
        return int(super().count_publishers(under(self, topic_name)))

    def count_subscribers(self, topic_name: str) -> int:
        """As `Node.count_subscribers`."""
        return int(super().count_subscribers(under(self, topic_name)))

    def get_publishers_info_by_topic(self, topic_name: str, *args: Any, **options: Any) -> Any:
        """As `Node.get_publishers_info_by_topic`."""
        return super().get_publishers_info_by_topic(under(self, topic_name), *args, **options)

    def get_subscriptions_info_by_topic(self, topic_name: str, *args: Any, **options: Any) -> Any:
        """As `Node.get_subscriptions_info_by_topic`."""
        return super().get_subscriptions_info_by_topic(under(self, topic_name), *args, **options)
