"""Celery tasks: decode, call one step, obey the decision it returns."""
