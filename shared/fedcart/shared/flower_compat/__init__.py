"""Every name of Flower that fedcart uses, public or not, and the settings that must stand before its import.

Import Flower from here only: its internals move between minor versions (pinned in pyproject.toml), and its
telemetry, update check and logger must be quiet before its first module loads. tests/server/test_flower_compat.py and
test_flower_link.py state what each internal is relied on for.

Here: messages, apps and the simulation runtime. `link`: the SuperLink inside a coordinator. `fleet`: a node's calls.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
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

from fedcart.shared.errors import FedcartError, ProtocolError

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
    "SimulationRuntime",
    "UserConfig",
    "become_coordinator",
    "error_name",
    "from_wire",
    "pack_array",
    "pack_arrays",
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
_DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
    "int64": np.dtype("<i8"),
    "uint32": np.dtype("<u4"),
    "uint64": np.dtype("<u8"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_MOST_DIMENSIONS = 8
"""Of an array that comes in: the product of any number of sizes takes as long as its sender likes."""


def pack_array(array: npt.NDArray[Any]) -> Array:
    """An array of one of our types as Flower carries it, with one copy of its bytes."""
    name = _NAMES.get(array.dtype)
    if name is None:
        raise TypeError(f"{array.dtype} arrays are not sent, only {', '.join(_DTYPES)}")
    data = array.tobytes()
    return Array(dtype=name, shape=array.shape, stype=_RAW, data=data)


def pack_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> ArrayRecord:
    """Named arrays as one record; ArrayRecord's own constructor would copy every Array's description again."""
    record = ArrayRecord()
    for name, array in arrays.items():
        record[name] = pack_array(array)
    return record


def unpack_array(packed: Array) -> npt.NDArray[Any]:
    """A read-only view of a packed array, without a copy. Raises ProtocolError when it is not what it says."""
    dtype = _DTYPES.get(packed.dtype)
    if packed.stype != _RAW or dtype is None:
        raise ProtocolError(f"an array came as {packed.dtype} in {packed.stype}; it was not used")
    shape = packed.shape
    try:
        if len(shape) > _MOST_DIMENSIONS or min(shape, default=0) < 0:
            raise ValueError
        if math.prod(shape) * dtype.itemsize != len(packed.data):
            raise ValueError
        view: npt.NDArray[Any] = np.frombuffer(packed.data, dtype).reshape(shape)
    except (ValueError, OverflowError):  # numpy's own, too: no rows of 2^62 words each
        raise ProtocolError(
            f"an array of {len(shape)} sizes, {shape[:3]} first, came with {len(packed.data)} bytes; it was not used"
        ) from None
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


class SimulationRuntime:
    """Flower's simulation runtime (ray workers) as a context: nodes wait for messages on `grid` until it is left.

    `flwr.simulation.run_simulation` passes no configuration to the nodes, keeps them in no order and is deprecated;
    the parts it is made of do what is needed. The ServerApp runs in the caller's thread, the runtime in another.
    """

    def __init__(
        self,
        load_app: Callable[[], ClientApp],
        node_configs: Sequence[UserConfig],
        backend: Mapping[str, Any],
        *,
        sticky: bool = False,
    ) -> None:
        """`load_app` must be importable by the workers; `backend` is RayBackend's configuration.

        Each node configuration needs a 'partition-id', the position of the node. `sticky`: a node keeps its worker.
        """
        from flwr.common.constant import HEARTBEAT_INTERVAL_INF, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID
        from flwr.compat.client.run_info_store import DeprecatedRunInfoStore
        from flwr.proto.task_pb2 import Task
        from flwr.server.superlink.linkstate import InMemoryLinkState, LinkStateFactory
        from flwr.server.superlink.linkstate.in_memory_linkstate import RunRecord
        from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID
        from flwr.supercore.object_store import ObjectStoreFactory
        from flwr.superlink.federation import NoOpFederationManager

        run = Run.create_empty(secrets.randbits(62) + 1)
        run.primary_task_id, run.federation_id = 1, NOOP_FEDERATION_ID
        become_coordinator(run.run_id)
        factory = LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory())
        state = factory.state()
        if not isinstance(state, InMemoryLinkState):
            raise TypeError(f"Flower's in-memory state is a {type(state).__name__}")
        state.run_ids[run.run_id] = RunRecord(run=run)
        state.task_store[1] = Task(task_id=1, run_id=run.run_id)
        self._stores: dict[int, Any] = {}
        for config in node_configs:
            node = state.create_node(
                NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, secrets.token_bytes(32), heartbeat_interval=HEARTBEAT_INTERVAL_INF
            )
            state.acknowledge_node_heartbeat(node_id=node, heartbeat_interval=HEARTBEAT_INTERVAL_INF)
            self._stores[node] = DeprecatedRunInfoStore(node_id=node, node_config=config)
            self._stores[node].register_context(run_id=run.run_id, run=run)
        self._factory, self._load_app, self._backend, self._sticky = factory, load_app, dict(backend), sticky
        self._stop, self._ready = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="flower-simulation")
        self.grid = self._ordered_grid()
        self.grid.set_run(run)

    def __enter__(self) -> SimulationRuntime:
        self._thread.start()
        try:
            self._ready.wait()
        except BaseException:  # Ctrl-C while ray starts: the thread must not outlive us
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise FedcartError when the runtime has ended on its own."""
        if self._stop.is_set():
            reason = type(self._failure).__name__ if self._failure else "no error was given"
            raise FedcartError(f"Flower's simulation runtime stopped: {reason}") from self._failure

    def _serve(self) -> None:
        from flwr.server.superlink.fleet.vce.backend.raybackend import RayBackend
        from flwr.server.superlink.fleet.vce.metrics import VceMetrics
        from flwr.server.superlink.fleet.vce.vce_api import run_api

        def start_backend() -> RayBackend:
            kind: type[RayBackend] = RayBackend
            if self._sticky:
                from fedcart.shared.flower_compat.sticky import StickyBackend

                kind = StickyBackend
            backend = kind(self._backend)
            self._ready.set()
            return backend

        partitions = {node: partition for partition, node in enumerate(self._stores)}
        try:
            run_api(self._load_app, start_backend, partitions, self._factory, self._stores, self._stop, VceMetrics())
        except Exception as error:
            self._failure = error
        finally:
            self._stop.set()
            self._ready.set()

    def _ordered_grid(self) -> Grid:
        from flwr.superlink.grid import InMemoryGrid

        runtime = self

        class OrderedGrid(InMemoryGrid):
            """Nodes in the order of their stores; an error instead of waiting for a runtime that is gone."""

            def get_node_ids(self) -> Iterable[int]:
                runtime.check()
                return list(runtime._stores)

            def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
                runtime.check()
                return super().pull_messages(message_ids)

        return OrderedGrid(self._factory)
