"""``refundry up``: the embedded Valkey, workers, beat, gateway and Flower under one supervisor."""
