"""Fake payment providers over real HTTP, with a dial for faults.

Written from the providers' documents alone: it imports no other room of the project, so that it
cannot share their mistakes. ``python -m simulator --help`` starts it.
"""
