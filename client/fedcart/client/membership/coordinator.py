"""Questions to the coordinator outside of rounds, signed by the store's identity."""

from __future__ import annotations

import base64
import binascii
import json
import re
from pathlib import Path
from typing import Any

import httpx

from fedcart.client.membership.files import MemberFiles
from fedcart.client.uplink import create_node_key, load_node_key
from fedcart.shared.agreement import CATALOGUE
from fedcart.shared.agreement import PLAN as PLAN_FILE
from fedcart.shared.errors import ConfigError, InputError, PrivacyRefused, ProtocolError
from fedcart.shared.flower_compat.fleet import Unreachable, clock_off_s, http_client, public_pem
from fedcart.shared.folders import placed
from fedcart.shared.identity import Identity, verify
from fedcart.shared.invitation import (
    APPROVE,
    JOIN,
    LEAVE,
    MODEL,
    MODEL_DOMAIN,
    PLAN,
    Invitation,
    Membership,
    ask,
    model_bytes_to_sign,
)
from fedcart.shared.model_files import ABOUT, STATE, load_model
from fedcart.shared.policy import Policy
from fedcart.shared.storage import replace_bytes

TIMEOUT_S = 30.0
MOST_CLOCK_OFF_S = 300.0
MOST_ANSWER, MOST_MODEL = 1 << 26, 1 << 30
"""Bytes of an answer: of a plan with its item list, and of a model."""
NO_KEY = re.compile(r'^coordinator_key\s*=\s*""', re.MULTILINE)


def post(membership: Membership, path: str, identity: Identity, document: dict[str, Any]) -> dict[str, Any]:
    """The coordinator's answer.

    Raises:
      Unreachable: there is none.
      ProtocolError: it is no, or longer than any is, or this machine's clock is far off: a line of the ledger that is
        dated ahead would stop the store until that time has come.
    """
    with http_client(membership.address, membership.authority.encode(), TIMEOUT_S) as client:
        try:
            with client.stream("POST", path, content=ask(identity, path, document)) as response:
                body, off = _read(response, path), clock_off_s(response.headers.get("date"))
        except httpx.TransportError as error:
            raise Unreachable(
                f"the coordinator at {membership.address} could not be reached ({type(error).__name__}: {error}); "
                "nothing was changed"
            ) from None
    if abs(off) > MOST_CLOCK_OFF_S:
        raise ProtocolError(
            f"this machine's clock is {off:+.0f} s off the coordinator's; the answer to {path} was not used",
            "set the clock right",
        )
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ProtocolError(f"the coordinator's answer to {path} cannot be read")
    return found


def _read(response: httpx.Response, path: str) -> bytes:
    """The body of an answer, no more of it than `MOST_ANSWER`, or a model's `MOST_MODEL`."""
    if response.status_code != 200:
        raise ProtocolError(f"the coordinator refused {path} with status {response.status_code}")
    most, body = MOST_MODEL if path == MODEL else MOST_ANSWER, bytearray()
    for part in response.iter_bytes(1 << 16):
        body += part
        if len(body) > most:
            raise ProtocolError(f"the coordinator's answer to {path} is longer than {most} bytes; it was not used")
    return bytes(body)


def join(files: MemberFiles, invitation: Invitation) -> None:
    """Become a member: the node's key is made here, and only public parts travel. Doing it again is harmless.

    Raises:
      PrivacyRefused: the policy pins another coordinator.
      ConfigError: the store is in another coalition.
      ProtocolError: the invitation is unknown or was used by another.
    """
    policy = files.folder.policy()
    pinned = policy.trust.coordinator_key
    if pinned and pinned != invitation.coordinator_key:
        raise PrivacyRefused(
            f"{files.policy_file} pins another coordinator_key than the invitation's; nothing was joined",
            "compare both with what the coordinator told you",
        )
    membership = Membership.of(invitation)
    if files.membership_file.exists() and files.membership() != membership:
        raise ConfigError(f"{files.folder.directory} is in a coalition already; nothing was joined")
    key = load_node_key(files.node_key) if files.node_key.exists() else create_node_key(files.node_key)
    with files.folder.open_ledger() as ledger:
        genesis = ledger.genesis
    document = {"token": invitation.token, "ledger": genesis, "node_key": public_pem(key).decode()}
    try:
        post(membership, JOIN, files.folder.identity(), document)
    except ProtocolError as error:
        if error.hint is None:
            error.hint = "an invitation is good once, and not for who was removed; the operator's log says what it was"
        raise
    membership.save(files.membership_file)


def leave(files: MemberFiles) -> None:
    """Be a member no more, unless invited anew: the coordinator is told, then coalition.json and the node's key go.

    Ledger, identity, policy, models and the records of past runs stay: what was spent is spent.

    Raises:
      ConfigError: the store takes part right now.
      Unreachable: the coordinator could not be told; nothing was changed, so try again.
      ProtocolError: it refused.
    """
    with files.alone():
        membership = files.membership()
        post(membership, LEAVE, files.folder.identity(), {"coalition": membership.coalition})
        for path in (files.node_key, files.node_memory, files.membership_file):
            path.unlink(missing_ok=True)


def pin_coordinator(path: Path, key: str) -> None:
    """Write a coordinator's key into a policy that pins none; nothing else of the file changes.

    Raises:
      ConfigError: the file pins one, or has no such line.
    """
    before = path.read_text(encoding="utf-8")
    after, count = NO_KEY.subn(f'coordinator_key = "{key}"', before)
    if count != 1:
        raise ConfigError(f'{path}: no line coordinator_key = ""; it was not changed', "set [trust] coordinator_key")
    replace_bytes(path, after.encode())
    path.chmod(0o600)
    Policy.load(path)


def fetch_plan(files: MemberFiles, identity: Identity, have: str) -> tuple[str, dict[str, str]] | None:
    """(name, file name -> text) of the published plan; None when it is `have` or there is none."""
    found = post(files.membership(), PLAN, identity, {"have": have})
    if not found:
        return None
    name, texts = found.get("name"), found.get("files")
    if not isinstance(name, str) or not re.fullmatch(r"[0-9a-f]{16}", name) or not isinstance(texts, dict):
        raise ProtocolError("the coordinator's plan cannot be read; nothing was approved")
    return name, {str(key): str(value) for key, value in texts.items()}


def send_approval(files: MemberFiles, identity: Identity, plan_hash: str, countersignature: str) -> None:
    """Hand in the store's countersignature."""
    document = {"plan_hash": plan_hash, "countersignature": countersignature}
    post(files.membership(), APPROVE, identity, document)


def fetch_model(files: MemberFiles, identity: Identity, name: str, plan_hash: str, coordinator_key: str) -> bool:
    """Write a finished run's model into plans/NAME/model, once there is one; whether there is.

    Raises:
      ProtocolError: it is of another plan, the pinned coordinator did not sign it, or its arrays are not the signed
        ones. Nothing was written.
    """
    found = post(files.membership(), MODEL, identity, {"plan": name})
    if not found:
        return False
    try:
        about = str(found["about"])
        said = json.loads(about)
        state, signature = base64.b64decode(found["state"], validate=True), bytes.fromhex(found["signature"])
        signed = model_bytes_to_sign(str(said["plan_hash"]), str(said["model_hash"]))
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise ProtocolError("the coordinator's model cannot be read; it was not used") from None
    verify(bytes.fromhex(coordinator_key), MODEL_DOMAIN, signed, signature)
    if said["plan_hash"] != plan_hash:
        raise ProtocolError("the coordinator's model is of another plan; it was not used")
    place = files.plan(name)
    with placed(place / "model") as part:
        for file in (PLAN_FILE, CATALOGUE):
            replace_bytes(part / file, (place / file).read_bytes())
        replace_bytes(part / STATE, state)
        replace_bytes(part / ABOUT, about.encode())
        try:
            load_model(part)
        except (ConfigError, InputError) as error:
            raise ProtocolError("the coordinator's model is not the one that it signed; it was not used") from error
    return True
