"""The store's half of a round, as a Flower ClientApp: check the instruction, pass the gate, reply.

What the coordinator learns of a failure is its class, never its text: a message could quote a customer's row. The
text goes to the store's own log. The reply holds the round's totals and nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from fedcart.client.gate import Surroundings, release
from fedcart.client.ledger_files import POLICY, open_store_ledger
from fedcart.client.records import StoreRecords
from fedcart.shared.agreement import Agreement
from fedcart.shared.errors import ConfigError, FedcartError, ProtocolError
from fedcart.shared.flower_compat import RAISED, ClientApp, Context, Error, Message, RecordDict
from fedcart.shared.policy import Policy
from fedcart.shared.wire import read_instruction, write_reply

log = logging.getLogger("fedcart.store")

Around = Callable[[str, int], Surroundings]
"""(directory, store) -> what the store brings to the gate."""


def store_surroundings(directory: str, store: int) -> Surroundings:
    """A store's own: its policy, noise from the operating system, nothing without a mask."""
    policy = Policy.load(Path(directory) / POLICY)
    return Surroundings(policy=policy, open_ledger=lambda: open_store_ledger(directory, store))


def make_app(around: Around = store_surroundings) -> ClientApp:
    """The app; a simulation passes its own surroundings."""
    made = ClientApp()

    @made.train()
    def train(message: Message, context: Context) -> Message:
        """Answer one instruction with this store's totals, or with the class of what went wrong."""
        try:
            return Message(_answer(message, context, around), reply_to=message)
        except FedcartError as error:
            log.error("%s", error)
            return Message(Error(RAISED, type(error).__name__), reply_to=message)
        except Exception as error:
            log.exception("the round was not answered")
            return Message(Error(RAISED, type(error).__name__), reply_to=message)

    return made


app = make_app()


def _answer(message: Message, context: Context, around: Around) -> RecordDict:
    directory, store = _place(context)
    agreement = Agreement.open(directory)
    if message.metadata.created_at + message.metadata.ttl < time.time():
        raise ProtocolError("the round's deadline has passed; nothing was released")
    instruction = read_instruction(message.content)
    if instruction.plan_hash != agreement.plan_hash:
        raise ProtocolError(
            f"the coordinator runs plan {instruction.plan_hash[:16]}…, this store agreed to "
            f"{agreement.plan_hash[:16]}…; nothing was released"
        )
    if not 0 <= instruction.index < len(agreement.rounds):
        raise ProtocolError(f"round {instruction.index} of {len(agreement.rounds)}; nothing was released")
    round_ = agreement.rounds[instruction.index]
    records = StoreRecords.open(directory, store, round_.index)
    if round_.index == 0:
        records.table.forget()
    totals = release(agreement, round_, instruction.attempt, instruction.state, records, around(directory, store))
    records.table.flush()
    return write_reply(totals)


def _place(context: Context) -> tuple[str, int]:
    """The directory of this store's files and its number there."""
    node, run = context.node_config, context.run_config
    directory = node.get("records", run.get("records"))
    store = node.get("store", node.get("partition-id"))
    if not isinstance(directory, str) or not isinstance(store, int):
        raise ConfigError("the node's configuration names no 'records' directory and 'store' number")
    return directory, store
