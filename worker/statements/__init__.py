"""A provider's bills, pure: how their lines are read, and what a line says beside a refund."""
