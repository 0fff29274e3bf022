"""A producer: reads refunds from standard input, one JSON object a line, and asks for them.

    python examples/producer.py BROKER_URL < refunds.jsonl

It needs the client alone (``pip install ./client``). Each refund that the broker took is named on
standard output.
"""

import json
import sys

from refundry import InvalidRequest, RefundClient, RefundRequest, SendFailed


def main(broker_url: str) -> int:
    """Send every line; 1 if a line is no refund, 3 if the broker is away."""
    with RefundClient(broker_url) as client:
        for line in sys.stdin:
            try:
                request = RefundRequest.read(json.loads(line))
                client.request(request)
            except InvalidRequest as error:
                sys.stderr.write(f"producer: {error}\n")
                return 1
            except SendFailed as error:
                sys.stderr.write(f"producer: {error}\n")
                return 3
            sys.stdout.write(f"{request.refund_no}\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
