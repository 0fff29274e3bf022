"""Every error of the service::

RefundryError
├── Refused           a job or a command that cannot be done, with a code and a reason
│   └── Conflict      a used refund number that carries other content
├── NotSent           provably nothing of a request has left this machine
│   ├── Unreached     because the provider could not be reached
│   └── NotLetIn      because the provider says that the account is set up wrongly
├── NoAnswer          a request may have been sent and no trustworthy answer came
│   ├── Forged        not signed by whom it says it is from
│   └── Foreign       rightly signed, for another merchant
├── LostCommits       the ledger does not have what was committed to it
├── CannotOpen        personal data is sealed and cannot be opened here
├── WrongFile         a file is not what it should be
├── Raced             another intake was first; look again
├── NotTaken          a receiver answered an announcement and did not take it
└── ServiceAway       the broker, the database or Redis does not answer
    └── RowsLocked    somebody has had a row locked for longer than is waited for it
"""

from collections.abc import Sequence


class RefundryError(Exception):
    """Raised when something goes wrong that this service has a word for."""


class Refused(RefundryError):
    """Raised when a job or a command cannot be done as asked.

    ``code`` is stable and for programs, the message says what was wrong and what to do;
    ``problems`` has a sentence a field where fields are wrong.
    """

    def __init__(self, code: str, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.problems = tuple(problems)


class Conflict(Refused):
    """Raised when a refund number is used again with other content."""


class NotSent(RefundryError):
    """Raised when a request provably never left: look-up, connect, TLS, or our own veto."""


class Unreached(NotSent):
    """Raised when a provider could not be reached: look-up, connect or TLS failed."""


class NotLetIn(NotSent):
    """Raised when a provider lets the account in no more: it says that it is set up wrongly.

    ``code`` is the provider's.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class LostCommits(RefundryError):
    """Raised when the ledger does not have what was committed to it: it is an older one."""


class NoAnswer(RefundryError):
    """Raised when a request may have been sent and nothing trustworthy came back."""

    #: What a notification that cannot be trusted is counted under.
    code = "unreadable"


class Forged(NoAnswer):
    """Raised when a message is not signed with the key of whom it says it is from."""

    code = "forged"


class Foreign(NoAnswer):
    """Raised when a message is rightly signed and is another merchant's."""

    code = "another_merchant"


class CannotOpen(RefundryError):
    """Raised when sealed personal data cannot be opened: its key is missing, or it is not whole."""


class WrongFile(RefundryError):
    """Raised when a file cannot be read as what it should be; nothing of it was used."""


class Raced(RefundryError):
    """Raised when another intake was first; looking again shows what it has written."""


class NotTaken(RefundryError):
    """Raised when a receiver answered an announcement with anything but success."""


class ServiceAway(RefundryError):
    """Raised when the broker, the database or Redis does not answer."""


class RowsLocked(ServiceAway):
    """Raised when somebody has had a row locked for longer than is waited for it."""
