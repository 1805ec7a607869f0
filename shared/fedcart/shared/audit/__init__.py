"""The auditor's side: reads ledgers that others wrote, needs no key, no data and no state of ours (docs/audit.md).

Importable without torch, flwr and opacus. It never writes beside what it audits.
"""
