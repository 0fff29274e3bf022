"""What is wrong with the set-up."""


class ConfigError(Exception):
    """Raised when a setting is missing or wrong; the message names it and says what to do."""


class BrokerNotStarted(ConfigError):
    """Raised when no broker is named and the embedded one was never started here."""
