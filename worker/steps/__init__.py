"""The steps of the refund protocol: the only place that locks, commits and calls out."""
