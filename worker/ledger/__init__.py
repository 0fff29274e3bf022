"""The ledger: tables, the constraints that guard them, and every query."""
