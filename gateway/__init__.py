"""HTTP: refunds of applications without Celery, and providers' callbacks.

A route decodes, calls one step of :mod:`worker.steps`, and maps what it raises.
"""
