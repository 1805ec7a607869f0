"""Every name of Flower that fedcart uses, public or not, and the settings that must stand before its import.

Import Flower from here only: its internals move between minor versions (pinned in pyproject.toml), and its
telemetry, update check and logger must be quiet before its first module loads. tests/server/test_flower_compat.py
states what each internal is relied on for.
"""

from __future__ import annotations

import logging
import os
from typing import Any

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

# After the settings above, and on purpose: Flower reads them when it is first imported.
import numpy as np
import numpy.typing as npt
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    RecordDict,
    UserConfig,
)
from flwr.app.message import remove_content_from_message
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fedcart.shared.errors import ProtocolError

logging.getLogger("flwr").setLevel(logging.WARNING)

__all__ = [
    "RAISED",
    "SUPERLINK_NODE_ID",
    "UNAVAILABLE",
    "Array",
    "ArrayRecord",
    "ClientApp",
    "ConfigRecord",
    "Context",
    "Error",
    "Grid",
    "Message",
    "RecordDict",
    "Run",
    "ServerApp",
    "UserConfig",
    "become_coordinator",
    "error_name",
    "from_wire",
    "pack_array",
    "set_message_id",
    "to_wire",
    "unpack_array",
]

RAISED = int(ErrorCode.CLIENT_APP_RAISED_EXCEPTION)
UNAVAILABLE = int(ErrorCode.NODE_UNAVAILABLE)
_ERROR_NAMES = {
    value: "".join(part.capitalize() for part in name.split("_"))
    for name, value in vars(ErrorCode).items()
    if isinstance(value, int)
}
_RAW = "fedcart.raw"
"""Our serialisation type: the array's little-endian bytes in C order, nothing else."""
_DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float64": np.dtype("<f8")}


def pack_array(array: npt.NDArray[Any]) -> Array:
    """A float32 or float64 array as Flower carries it, with one copy of its bytes."""
    name = str(array.dtype)
    if name not in _DTYPES:
        raise TypeError(f"{name} arrays are not sent, only {' and '.join(_DTYPES)}")
    data = np.ascontiguousarray(array, _DTYPES[name]).tobytes()
    return Array(dtype=name, shape=tuple(map(int, array.shape)), stype=_RAW, data=data)


def unpack_array(packed: Array) -> npt.NDArray[Any]:
    """A read-only view of a packed array, without a copy. Raises ProtocolError when it is not what it says."""
    dtype = _DTYPES.get(packed.dtype)
    if packed.stype != _RAW or dtype is None:
        raise ProtocolError(f"an array came as {packed.dtype} in {packed.stype}; it was not used")
    words = 1
    for size in packed.shape:
        words *= size
    if any(size < 0 for size in packed.shape) or words * dtype.itemsize != len(packed.data):
        raise ProtocolError(f"an array of shape {packed.shape} came with {len(packed.data)} bytes; it was not used")
    view: npt.NDArray[Any] = np.frombuffer(packed.data, dtype).reshape(packed.shape)
    return view


def become_coordinator(run_id: int) -> None:
    """Tell Flower that this process writes a ServerApp's messages: outside its runtime nobody else does."""
    TaskIdentity.run_id = run_id
    TaskIdentity.node_id = SUPERLINK_NODE_ID
    TaskIdentity.task_id = 1


def set_message_id(message: Message, message_id: str) -> None:
    """Number a message as the SuperLink does."""
    message.metadata.__dict__["_message_id"] = message_id


def error_name(error: Error) -> str:
    """What went wrong at a node, by class; a reason that is more than a class name is not passed on."""
    reason = error.reason or ""
    if error.code == RAISED and reason.isidentifier() and len(reason) <= 64:
        return reason
    return _ERROR_NAMES.get(error.code, "Unknown")


def to_wire(message: Message) -> tuple[bytes, dict[str, bytes]]:
    """A message as the HTTP transport sends it: protobuf metadata, and each object's bytes by its hash."""
    head: bytes = message_to_proto(remove_content_from_message(message)).SerializeToString()
    if message.has_error():
        return head, {}
    objects = {key: value.deflate() for key, value in get_all_nested_objects(message.content).items()}
    return head, objects


def from_wire(wire: tuple[bytes, dict[str, bytes]]) -> Message:
    """The message that `to_wire` wrote; fresh objects throughout."""
    head, objects = wire
    message = message_from_proto(ProtoMessage.FromString(head))
    if objects:
        root = list(objects)[-1]  # children come before their parents
        content = inflate_object_from_contents(root, dict(objects))
        if not isinstance(content, RecordDict):
            raise ProtocolError(f"a message carried a {type(content).__name__}; it was not used")
        message.content = content
    return message
