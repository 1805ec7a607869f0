"""The ledger: what a store released and what it cost, in lines that an outsider can check (docs/ledger.md)."""

from fedcart.shared.ledger.charged import Charged
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.ledger.receipts import Receipt, SignedHead

__all__ = ["Charged", "Ledger", "Receipt", "SignedHead"]
