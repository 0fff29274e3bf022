"""What ``refundry demo`` is made of."""
