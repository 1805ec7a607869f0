"""The store's line to its coordinator: outbound HTTPS only, the installed app only, no signals and no exits."""

from fedcart.client.uplink.node import NodeState, StoreNode
from fedcart.client.uplink.node_key import create_node_key, load_node_key

__all__ = ["NodeState", "StoreNode", "create_node_key", "load_node_key"]
