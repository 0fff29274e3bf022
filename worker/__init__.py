"""What the work is made of: the ledger, the providers, the steps and the command line."""
