"""What fedcart relies on in Flower, internal by internal. A new Flower that breaks one of these breaks fedcart."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedcart.shared import flower_compat as fc
from fedcart.shared.errors import ProtocolError

ROOT = Path(__file__).resolve().parents[2]


def _instruction(node: int = 7, value: float = 1.0) -> fc.Message:
    fc.become_coordinator(3)
    content = fc.RecordDict({"state": fc.pack_arrays({"v": np.full(5, value)}), "c": fc.ConfigRecord({"i": 1})})
    message = fc.Message(content, node, "train", ttl=9.0, group_id="0.0")
    fc.set_message_id(message, "id 1")
    return message


def test_a_message_carries_run_source_ttl_group_and_number() -> None:
    head = _instruction().metadata
    assert (head.run_id, head.src_node_id, head.dst_node_id) == (3, fc.SUPERLINK_NODE_ID, 7)
    assert (head.ttl, head.group_id, head.message_id, head.message_type) == (9.0, "0.0", "id 1", "train")


def test_a_reply_names_the_message_it_answers_and_does_not_outlive_it() -> None:
    asked = _instruction()
    reply = fc.Message(fc.RecordDict(), reply_to=asked).metadata
    assert (reply.reply_to_message_id, reply.src_node_id, reply.dst_node_id) == ("id 1", 7, fc.SUPERLINK_NODE_ID)
    assert reply.created_at + reply.ttl <= asked.metadata.created_at + asked.metadata.ttl + 1e-6


def test_a_message_can_be_copied_deeply() -> None:
    asked = _instruction()
    copied = copy.deepcopy(asked)
    assert copied.content is not asked.content
    assert copied.content == asked.content
    assert copied.metadata == asked.metadata


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_an_array_comes_back_bit_for_bit(array: np.ndarray) -> None:
    back = fc.unpack_array(fc.pack_array(array))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert not back.flags.writeable


def test_unpacking_makes_no_copy() -> None:
    packed = fc.pack_array(np.arange(6.0))
    assert np.shares_memory(fc.unpack_array(packed), np.frombuffer(packed.data, np.uint8))


def test_a_transposed_array_is_sent_in_c_order() -> None:
    array = np.arange(6.0).reshape(2, 3).T
    np.testing.assert_array_equal(fc.unpack_array(fc.pack_array(array)), array)


@pytest.mark.parametrize(
    ("dtype", "shape", "stype", "data"),
    [
        ("float64", (2,), "fedcart.raw", bytes(8)),
        ("float64", (1,), "numpy.ndarray", bytes(8)),
        ("object", (1,), "fedcart.raw", bytes(8)),
        ("int32", (1,), "fedcart.raw", bytes(4)),
        ("float64", (-1, -1), "fedcart.raw", bytes(8)),
        ("float32", (1 << 40, 1 << 40), "fedcart.raw", bytes(8)),
        ("float32", (0, 1 << 62), "fedcart.raw", b""),
        ("float32", (0, 1 << 80), "fedcart.raw", b""),
        ("float32", (1,) * 65, "fedcart.raw", bytes(4)),
    ],
)
def test_an_array_that_is_not_what_it_says_is_refused(
    dtype: str, shape: tuple[int, ...], stype: str, data: bytes
) -> None:
    with pytest.raises(ProtocolError, match="not used"):
        fc.unpack_array(fc.Array(dtype, shape, stype, data))


def test_other_types_are_not_sent() -> None:
    with pytest.raises(TypeError, match="uint8"):
        fc.pack_array(np.zeros(3, np.uint8))


def test_the_wire_carries_head_content_and_error() -> None:
    asked = _instruction()
    head, objects = fc.to_wire(asked)
    assert isinstance(head, bytes)
    assert all(isinstance(value, bytes) for value in objects.values())
    arrived = fc.from_wire((head, objects))
    assert arrived.metadata == asked.metadata
    assert arrived.content == asked.content
    error = fc.Message(fc.Error(fc.RAISED, "ValueError"), reply_to=asked)
    assert fc.from_wire(fc.to_wire(error)).error == error.error


def test_what_two_messages_share_travels_under_one_name() -> None:
    first, second = _instruction(7), _instruction(8)
    assert set(fc.to_wire(first)[1]) == set(fc.to_wire(second)[1])
    assert set(fc.to_wire(first)[1]) != set(fc.to_wire(_instruction(8, value=2.0))[1])


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (fc.Error(fc.RAISED, "DataError"), "DataError"),
        (fc.Error(fc.RAISED, "<class 'KeyError'>:<'customer 17 bought wine'>"), "ClientAppRaisedException"),
        (fc.Error(fc.RAISED, "x" * 65), "ClientAppRaisedException"),
        (fc.Error(fc.RAISED), "ClientAppRaisedException"),
        (fc.Error(fc.UNAVAILABLE, "Offline"), "NodeUnavailable"),
        (fc.Error(4711, "Offline"), "Unknown"),
    ],
)
def test_only_the_class_of_a_failure_is_passed_on(error: fc.Error, name: str) -> None:
    assert fc.error_name(error) == name


def test_flower_is_quiet_and_calls_nobody() -> None:
    code = (
        "import os\nfrom fedcart.shared import flower_compat\nimport fedcart.client.app, fedcart.server.app, logging\n"
        "logging.getLogger('flwr').info('a word')\n"
        "assert not logging.getLogger('flwr').isEnabledFor(logging.INFO)\n"
        "assert os.environ['FLWR_TELEMETRY_ENABLED'] == '0'\n"
        "assert os.environ['FLWR_DISABLE_UPDATE_CHECK'] == '1'\n"
        "assert os.environ['RAY_USAGE_STATS_ENABLED'] == '0'\n"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FLWR_", "RAY_"))}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=kept)
    assert done.stdout == ""
    assert done.stderr == ""


def test_no_other_module_imports_flower() -> None:
    sources = [p for root in ("shared", "client", "server", "simulation") for p in (ROOT / root).rglob("*.py")]
    importing = {
        path.parent.name for path in sources if re.search(r"^\s*(from|import) flwr\b", path.read_text(), re.MULTILINE)
    }
    assert importing == {"flower_compat"}


def test_the_simulation_runtime_is_made_of_the_parts_that_are_relied_on() -> None:
    from flwr.compat.client.run_info_store import DeprecatedRunInfoStore
    from flwr.server.superlink.fleet.vce.backend.backend import Backend
    from flwr.server.superlink.fleet.vce.vce_api import run_api
    from flwr.superlink.grid import InMemoryGrid

    assert list(inspect.signature(run_api).parameters) == [
        "app_fn",
        "backend_fn",
        "nodes_mapping",
        "state_factory",
        "node_info_stores",
        "f_stop",
        "metrics",
    ]
    assert list(inspect.signature(DeprecatedRunInfoStore).parameters) == ["node_id", "node_config"]
    assert {"build", "process_message", "terminate", "num_workers"} <= set(dir(Backend))
    assert issubclass(InMemoryGrid, fc.Grid)


def test_the_in_process_grid_implements_all_that_a_grid_must() -> None:
    assert fc.Grid.__abstractmethods__ == {
        "set_run",
        "run",
        "create_message",
        "get_node_ids",
        "push_messages",
        "pull_messages",
        "send_and_receive",
    }


def test_the_flower_app_is_configuration_only_and_names_the_installed_apps() -> None:
    app = tomllib.loads((ROOT / "server" / "flower-app" / "pyproject.toml").read_text())
    assert app["project"]["dependencies"] == []
    assert re.fullmatch(r"[A-Za-z0-9-]+", app["project"]["name"])
    assert "dynamic" not in app["project"]
    assert [p.name for p in (ROOT / "server" / "flower-app").iterdir()] == ["pyproject.toml"]
    kinds = {"serverapp": fc.ServerApp, "clientapp": fc.ClientApp}
    for component, reference in app["tool"]["flwr"]["app"]["components"].items():
        module, _, attribute = reference.partition(":")
        assert isinstance(getattr(importlib.import_module(module), attribute), kinds[component])


@pytest.mark.parametrize("module", ["fedcart.client.app", "fedcart.server.app"])
def test_an_app_is_a_plain_assignment(module: str) -> None:
    tree = ast.parse(Path(inspect.getfile(importlib.import_module(module))).read_text())
    assigned = {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    assert "app" in assigned
