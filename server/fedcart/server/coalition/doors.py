"""The coalition's own calls beside the fleet's: join with an invitation, fetch the plan, countersign it, fetch the
model, leave.

Every question is signed by the store's identity. A refusal is a status and no text: 403 for whoever may not, 409 for
what does not fit.
"""

from __future__ import annotations

import base64
import dataclasses
import hmac
import json
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedcart.server.coalition.folder import CoalitionFolder, Member, token_hash
from fedcart.server.listener import Door, json_body
from fedcart.shared.agreement import CATALOGUE, PLAN
from fedcart.shared.errors import FedcartError, PrivacyRefused, ProtocolError
from fedcart.shared.identity import KEY_BYTES
from fedcart.shared.invitation import APPROVE, JOIN, LEAVE, MODEL, MODEL_DOMAIN, TOKEN_BYTES, asked, model_bytes_to_sign
from fedcart.shared.invitation import PLAN as PLAN_CALL
from fedcart.shared.model_files import ABOUT, STATE
from fedcart.shared.roster import ROSTER
from fedcart.shared.signatures import SIGNATURES, PlanSignatures, is_hex

log = logging.getLogger("fedcart.coalition")
RUN_MODEL = "model"
"""Folder of a finished run's model, beside its plan."""
FILES = (PLAN, CATALOGUE, SIGNATURES, ROSTER)
"""What a store is sent of a plan."""


class Doors:
    """Answers the coalition's calls from its folder."""

    def __init__(self, folder: CoalitionFolder, changed: Callable[[], None]) -> None:
        """
        Args:
          changed: called after a store joined or left.
        """
        self._folder, self._changed = folder, changed
        self._lock = threading.Lock()

    def doors(self) -> dict[str, Door]:
        """By path."""
        calls = {
            JOIN: self._join,
            PLAN_CALL: self._plan,
            APPROVE: self._approve,
            MODEL: self._model,
            LEAVE: self._leave,
        }
        return {path: Door(self._answering(path, call), most=1 << 16) for path, call in calls.items()}

    def _answering(
        self, path: str, call: Callable[[Mapping[str, Any], str], Mapping[str, Any]]
    ) -> Callable[[Mapping[str, str], bytes], tuple[int, bytes]]:
        def answer(headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
            try:
                document, key = asked(path, body)
                with self._lock:
                    return 200, json_body(call(document, key))
            except (ProtocolError, PrivacyRefused) as error:
                log.warning("%s: %s", path, error.message)
                return 403, b""
            except FedcartError as error:
                log.error("%s: %s", path, error.message)
                return 409, b""

        return answer

    def _join(self, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        """A store with an unused invitation becomes a member; asking the same again is answered again.

        One that left may come back: with its ledger, as its key signs for no other, and with another node's key.
        """
        token, ledger, node_key = (document.get(name) for name in ("token", "ledger", "node_key"))
        if not is_hex(token, TOKEN_BYTES) or not is_hex(ledger, KEY_BYTES) or not isinstance(node_key, str):
            raise ProtocolError("a joining that names no token, ledger and node key; nobody joined")
        if not node_key.startswith("-----BEGIN PUBLIC KEY-----") or len(node_key) > 1000:
            raise ProtocolError("a joining whose node key is none; nobody joined")
        given = token_hash(str(token))

        def enter(members: list[Member]) -> list[Member]:
            for place, member in enumerate(members):
                if member.state == "joined" and (member.key, member.ledger, member.node_key) == (key, ledger, node_key):
                    return members
                if member.token_hash and hmac.compare_digest(member.token_hash, given) and member.state == "invited":
                    if any(node_key == x.node_key or (key == x.key and x.state != "left") for x in members):
                        raise ProtocolError("a key that is or was a member's; nobody joined")
                    if any(key == x.key and ledger != x.ledger for x in members):
                        raise ProtocolError("a store that left comes back with another ledger; nobody joined")
                    joined = dataclasses.replace(
                        member, state="joined", token_hash="", key=key, ledger=str(ledger), node_key=node_key
                    )
                    log.info("store %s joined", member.name)
                    return [*members[:place], joined, *members[place + 1 :]]
            raise ProtocolError("an invitation that is unknown or was used; nobody joined")

        self._folder.change(enter)
        self._changed()
        return {"coalition": self._folder.about().name}

    def _plan(self, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        """The published plan's files, unless the store has them."""
        self._member(key)
        place = self._folder.published()
        if place is None or document.get("have") == place.name:
            return {}
        return {"name": place.name, "files": {name: (place / name).read_text(encoding="utf-8") for name in FILES}}

    def _approve(self, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        """Put a store's countersignature beside the plan."""
        self._member(key)
        place, signature = self._folder.published(), document.get("countersignature")
        if place is None or not isinstance(signature, str):
            raise ProtocolError("a countersignature of no plan; it was not kept")
        path = place / SIGNATURES
        found = PlanSignatures.load(path)
        if document.get("plan_hash") != found.plan_hash:
            raise ProtocolError("a countersignature of another plan; it was not kept")
        signed = dataclasses.replace(found, countersignatures={**found.countersignatures, key: signature})
        signed.check(path, found.plan_hash, found.coordinator_key)
        signed.save(path)
        return {}

    def _model(self, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        """The published plan's model, once its run is finished, with the coordinator's signature."""
        self._member(key)
        place = self._folder.published()
        if place is None or document.get("plan") != place.name or not (place / RUN_MODEL / ABOUT).exists():
            return {}
        about = (place / RUN_MODEL / ABOUT).read_text(encoding="utf-8")
        said = json.loads(about)
        signed = model_bytes_to_sign(said["plan_hash"], said["model_hash"])
        return {
            "about": about,
            "state": base64.b64encode((place / RUN_MODEL / STATE).read_bytes()).decode(),
            "signature": self._folder.identity().sign(MODEL_DOMAIN, signed).hex(),
        }

    def _leave(self, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        """A member is one no more; asking again is answered again."""
        if document.get("coalition") != self._folder.about().name:
            raise ProtocolError("a leaving from another coalition; nothing was changed")

        def out(members: list[Member]) -> list[Member]:
            if key not in {member.key for member in members}:
                raise ProtocolError("a leaving of a stranger; nothing was changed")
            gone = [x.key == key and x.state != "removed" for x in members]
            return [
                dataclasses.replace(x, state="left", token_hash="") if leaves else x
                for x, leaves in zip(members, gone, strict=True)
            ]

        self._folder.change(out)
        self._changed()
        log.info("a store left")
        return {}

    def _member(self, key: str) -> Member:
        for member in self._folder.joined():
            if member.key == key:
                return member
        raise ProtocolError("a question of a stranger; it was not answered")


def approvals(place: Path) -> set[str]:
    """Public keys of the stores that countersigned a plan."""
    return set(PlanSignatures.load(place / SIGNATURES).countersignatures)
