"""``python -m worker.cli``: the same as the ``refundry`` command."""

from worker.cli import main

main()
