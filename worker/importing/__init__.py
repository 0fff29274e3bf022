"""Files of refunds: how they are read, what a row is, what is written about it."""
