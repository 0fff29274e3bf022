"""How the service is set up: settings and accounts, read once at start and frozen."""
