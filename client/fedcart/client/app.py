"""The store's half of a round, as a Flower ClientApp: check the instruction, pass the gate, reply.

What the coordinator learns of a failure is its class, never its text: a message could quote a customer's row. The
text goes to the store's own log. The reply holds the round's totals, or in secure aggregation what docs/spec/secagg.md
lists, and under a guarantee the signed head of the store's ledger; nothing else.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from fedcart.client.gate import Surroundings, release
from fedcart.client.held_out import MeasuredRecords
from fedcart.client.ledger_files import POLICY, open_store_ledger
from fedcart.client.masking import StoreMasks
from fedcart.client.records import StoreRecords
from fedcart.client.witness import pinned_coordinator, signed_head, take_receipts
from fedcart.shared.agreement import Agreement
from fedcart.shared.canonical import model_hash
from fedcart.shared.errors import ConfigError, FedcartError, ProtocolError
from fedcart.shared.evaluation import STAGE
from fedcart.shared.flower_compat import RAISED, ClientApp, Context, Error, Message, RecordDict
from fedcart.shared.learners.base import Array, Customers, Round
from fedcart.shared.policy import DataRules, Policy
from fedcart.shared.secagg.masks import Bits, Words
from fedcart.shared.secagg.requests import Train
from fedcart.shared.secagg_wire import (
    FLOWS,
    TRAIN_ACTION,
    Flow,
    join,
    read_masked_instruction,
    read_query,
    write_query,
    write_upload,
)
from fedcart.shared.wire import (
    RECEIPT_ACTION,
    Instruction,
    read_instruction,
    read_receipts,
    write_head,
    write_reply,
)

log = logging.getLogger("fedcart.store")

Around = Callable[[str, int], Surroundings]
"""(directory, store) -> what the store brings to the gate."""
Answer = Callable[[Message, Context, Around], RecordDict]


def store_surroundings(directory: str, store: int) -> Surroundings:
    """A store's own: its policy, noise from the operating system, nothing without a mask."""
    policy = Policy.load(Path(directory) / POLICY)
    if policy.data != DataRules():
        raise ConfigError(
            f"{directory}/{POLICY}: [data] says how a store's folder is read, and these records were written "
            "otherwise; nothing was released",
            "read them with `fedcart store`, or take consent_column and retention_days out",
        )
    coordinator = pinned_coordinator(directory, policy)
    return Surroundings(policy=policy, open_ledger=lambda: open_store_ledger(directory, store), coordinator=coordinator)


def make_app(around: Around = store_surroundings) -> ClientApp:
    """The app; a simulation passes its own surroundings."""
    made = ClientApp()

    def guarded(answer: Answer) -> Callable[[Message, Context], Message]:
        """The answer, or the class of what went wrong."""

        def reply(message: Message, context: Context) -> Message:
            try:
                return Message(answer(message, context, around), reply_to=message)
            except FedcartError as error:
                log.error("%s", error)
                return Message(Error(RAISED, type(error).__name__), reply_to=message)
            except Exception as error:
                log.exception("the round was not answered")
                return Message(Error(RAISED, type(error).__name__), reply_to=message)

        return reply

    made.train()(guarded(_answer))
    made.train(TRAIN_ACTION)(guarded(_answer_masked))
    for flow in FLOWS:
        if flow != "train":
            made.query(flow)(guarded(functools.partial(_answer_query, flow)))
    made.query(RECEIPT_ACTION)(guarded(_answer_receipts))
    return made


def _answer(message: Message, context: Context, around: Around) -> RecordDict:
    _in_time(message)
    directory, store = _place(context)
    instruction = read_instruction(message.content)
    agreement, round_ = _round_of(directory, instruction)
    surroundings = around(directory, store)
    totals = _totals(agreement, round_, store, instruction, surroundings)
    return write_reply(totals, None if agreement.plan.privacy is None else signed_head(surroundings))


def _answer_masked(message: Message, context: Context, around: Around) -> RecordDict:
    _in_time(message)
    directory, store = _place(context)
    instruction, raw = read_masked_instruction(message.content)
    agreement, round_ = _round_of(directory, instruction)
    surroundings = around(directory, store)
    masks = _masks(surroundings)

    def vector(train: Train) -> Words:
        if (train.release, train.block) != (round_.index, 0):
            raise ProtocolError("TRAIN names another release than the instruction; nothing was released")
        bits = masks.pins.bits
        return join(round_, _totals(agreement, round_, store, instruction, surroundings, bits), bits)

    upload = masks.train(raw, bytes.fromhex(model_hash(instruction.state.public)), vector)
    return write_upload(upload.vector, upload.word, signed_head(surroundings))


def _answer_query(flow: Flow, message: Message, context: Context, around: Around) -> RecordDict:
    _in_time(message)
    masks = _masks(around(*_place(context)))
    return write_query(masks.answer(flow, read_query(message.content)))


def _answer_receipts(message: Message, context: Context, around: Around) -> RecordDict:
    _in_time(message)
    return write_head(take_receipts(around(*_place(context)), read_receipts(message.content)))


def _in_time(message: Message) -> None:
    if message.metadata.created_at + message.metadata.ttl < time.time():
        raise ProtocolError("the round's deadline has passed; nothing was released")


def _masks(around: Surroundings) -> StoreMasks:
    if around.masks is None:
        raise ProtocolError("this store takes no part in secure aggregation; nothing was released")
    return around.masks


def _round_of(directory: str, instruction: Instruction) -> tuple[Agreement, Round]:
    agreement = Agreement.open(directory)
    if instruction.plan_hash != agreement.plan_hash:
        raise ProtocolError(
            f"the coordinator runs plan {instruction.plan_hash[:16]}…, this store agreed to "
            f"{agreement.plan_hash[:16]}…; nothing was released"
        )
    if not 0 <= instruction.index < len(agreement.rounds):
        raise ProtocolError(f"round {instruction.index} of {len(agreement.rounds)}; nothing was released")
    return agreement, agreement.rounds[instruction.index]


def _totals(
    agreement: Agreement,
    round_: Round,
    store: int,
    instruction: Instruction,
    around: Surroundings,
    masked: Bits | None = None,
) -> Mapping[str, Array]:
    records = StoreRecords.open(agreement.directory, store, round_.index)
    if round_.index == 0:
        records.table.forget()
    customers: Customers = records if round_.stage != STAGE else MeasuredRecords.open(agreement.directory, records)
    totals = release(agreement, round_, instruction.attempt, instruction.state, customers, around, masked)
    records.table.flush()
    return totals


def _place(context: Context) -> tuple[str, int]:
    """The directory of this store's files and its number there."""
    node, run = context.node_config, context.run_config
    directory = node.get("records", run.get("records"))
    store = node.get("store", node.get("partition-id"))
    if not isinstance(directory, str) or not isinstance(store, int):
        raise ConfigError("the node's configuration names no 'records' directory and 'store' number")
    return directory, store


app = make_app()
