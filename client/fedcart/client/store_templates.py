"""The text of a new store's two files, with a comment at every choice; what is given is filled in."""

from __future__ import annotations

import json
from collections.abc import Mapping

STORE = """\
# Where this store's data lie and what the columns mean. What may leave the store is in policy.toml.
# Paths are relative to this file. Check with: fedcart store check {folder}

[data]
source = {source}
# A CSV (.csv, .tsv, .gz) or Parquet file, a database URL (postgresql+psycopg://user@host/shop, sqlite:////data/shop.db),
# or "env:NAME" for a URL with a password in the environment variable NAME.
{query}
behaviour = "purchase"      # what a row means where no column says so: view, favourite, cart, purchase, rating
max_bad_rows = 0.01         # share of rows that may be bad before the table is refused
overlap_days = 2            # with :since in a query: days that a row may reach the database late
# store = "North"           # where the table has a column `store` and holds several
# encoding = "utf-8"
# separator = ","

[data.columns]              # role = "column"; a column named like its role needs no line
{columns}

# [data.behaviours]         # words of the behaviour column; "cancelled" undoes a purchase
# bought = "purchase"
# returned = "cancelled"

# [data.behaviour_weights]  # how much one event counts
# view = 0.05

[items]
{catalogue}
match = "id"                # "gtin": your numbers and the catalogue's are GTINs (EAN, UPC)
# map = "item-map.csv"      # or a table of two columns, own and catalogue

# [consent]                 # where consent is no column of the data: a table that is read whole each time
# source = "consents.csv"
# customer = "customer"

[recommend]
repeats = "rate"            # bought items: "rate" = as far as their category is bought again, "never", "always"
# assortment = "items.csv"  # column id: your numbers of all that you sell; else what was ever sold

# [serve]
# private_only = true       # no row of another customer moves a list; needs assortment, and repeats "never" or "always"
# store_cooccurrences = false # the model and the customer's own rows decide, not what your customers have together
"""

POLICY = """\
# What this store allows. Never sent, and no message can change it. Only its owner may write it (mode 0600).

[limits]
epsilon_total = {epsilon}         # for the whole life of the ledger, over all plans; never more is spent
# epsilon_window = 4.0      # and in any window of window_days
window_days = 365
delta = 1e-5                # a customer's promise fails with at most this probability
attempts = 3

[trust]
coordinator_key = ""        # the coordinator's public key, told to you out of band: pin it before you join
roster_root = ""            # hash of the signed list of stores
known_stores = []           # fingerprints of stores you know; all others count as colluding

[require]
trust = ["local", "distributed"]    # "none" would let sums leave without noise
min_survivors = 3           # fewest stores in a sum
min_colluders = 1
min_noise_multiplier = 0.3
min_sigma_local = 0.05      # your own noise, over the sensitivity
catalogue = "given"         # refuse item lists that were derived from what customers did

[data]
consent_column = {consent}         # column that says whether a customer may be learned from: yes, no; empty = no column
# retention_days = 730      # older interactions are not used

[approve]
auto = false                # true approves fitting plans unasked
"""


def store_toml(
    *, folder: str, source: str, query: str | None, columns: Mapping[str, str], catalogue: str | None
) -> str:
    """store.toml as text."""
    known = {"customer": "customer", "item": "item"} | dict(columns)
    asks = 'SELECT customer, item, time FROM sales WHERE time >= :since"    # of a database URL'
    wanted = "public list: the coalition's catalogue.json, or a file with a column id"
    return STORE.format(
        folder=folder,
        source=quoted(source),
        query=f'# query = "{asks}' if query is None else f"query = {quoted(query)}",
        columns="\n".join(f"{role} = {quoted(column)}" for role, column in known.items()),
        catalogue=f'# catalogue = "catalogue.json"    # {wanted}'
        if catalogue is None
        else f"catalogue = {quoted(catalogue)}    # {wanted}",
    )


def policy_toml(*, epsilon_total: float, consent_column: str) -> str:
    """policy.toml as text."""
    return POLICY.format(epsilon=float(epsilon_total), consent=quoted(consent_column))


def quoted(text: str) -> str:
    """A TOML basic string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
