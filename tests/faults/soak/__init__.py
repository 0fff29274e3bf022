"""The soak: the real processes under every fault at once, drawn from a seed, ending with zeros.

``python -m tests.faults.soak --minutes 20 --seed 7`` runs it; ``--plan`` shows what would come.
"""
