"""``refundry up``: the embedded Valkey, workers, beat and Flower under one supervisor."""
