"""The ledger's codes in words, and the page's own words. Pure; English, and by gettext others.

A code that is not here is shown as it stands. ``locale/`` has a catalogue a language: the `.po` is
what people edit, the `.mo` what is read; a test holds them against each other and against this.
"""

import gettext
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from refundry.fields import SHANGHAI

_CATALOGUES: Final = Path(__file__).parent / "locale"
DOMAIN: Final = "refundry"

STATES: Final = {
    "queued": "Queued",
    "submitting": "Being submitted",
    "unknown": "Unknown: the provider is asked",
    "pending": "In progress at the provider",
    "succeeded": "Refunded",
    "failed": "Failed: not refunded",
    "canceled": "Canceled before it was sent",
    "reversed": "Reversed after it had succeeded",
}
EVENTS: Final = {
    "accepted": "The refund was accepted; its amount is reserved on the order",
    "submitting": "The intent to submit it was written down",
    "reaped": "The attempt got no answer in its time; it may have been sent",
    "requeued": "The provider does not know it, as it was asked several times; it is sent again",
    "canceled": "It was canceled; nothing of it had been sent",
    "resubmitted": "It was asked for again under the same number",
    "never_sent": "Nothing was sent; it is tried again later",
    "busy": "The provider was busy and did nothing; it is tried again later",
    "misconfigured": "The provider says the account is set up wrongly; the account is paused",
    "token": "The provider refused the access token; it is tried again with a new one",
    "waiting_for_funds": "The merchant's balance is short; it waits and is tried again",
    "rejected_while_open": "It was declined, while an earlier attempt may still be executed",
    "exists": "The provider says that it has this number already",
    "late_answer": "An answer to an earlier attempt came late",
    "succeeded": "The provider has executed it",
    "failed": "The provider has declined it; nothing was executed",
    "pending": "The provider has taken it and is at work on it",
    "unknown": "It may have been sent; no trustworthy answer came",
    "known": "The provider knows it, and cannot say yet how it ends",
    "not_found": "The provider does not know it; it is asked again",
    "notified": "The provider has sent a message about it",
    "mismatched": "The provider's message names another order or amount",
    "contradicted": "Evidence came against how it had ended; a person looks at it",
    "vanished": "The provider does not know any more what it had known",
    "not_resendable": "It was never executed, and cannot safely be sent again",
    "lost_intent": "The provider knows it, although the restored ledger has not sent it",
    "cleared": "After the restore: nothing of it was executed",
    "asked": "The provider was asked",
    "settled": "Two persons settled how it ended, with evidence",
    "sent_again": "A person had it sent again under the same number",
    "approved": "A second person approved it; it may be sent",
    "sealed": "What it says of a person was encrypted; it had stood in clear",
}
CASES: Final = {
    "number_taken": "The provider had this number before it was first sent",
    "vanished": "The provider knows the number no more",
    "not_resendable": "Not executed, and no safe way to send it again",
    "contradicted": "Evidence against how it ended",
    "aged": "Not final for too long",
    "unaskable": "Unknown, and the provider can be neither asked nor heard",
    "mismatched": "The provider's message names another order or amount",
    "limit": "A limit of the provider forbids it by now",
    "sealed": "Its personal data cannot be decrypted, so it cannot be sent",
    "unannounced": "Its announcement cannot be delivered",
    "lost_intent": "The provider knows what the restored ledger has not sent",
    "approval": "A large refund waits for a second person's approval",
    "held": "The order has been held for long",
    "not_ours": "A bill has a refund that nobody here has asked for",
    "unrecorded": "A bill has a refund of our order that is not in the ledger",
    "amount_differs": "A bill has another amount",
    "state_differs": "A bill and the ledger differ in whether it was paid",
    "doubled": "A bill has it as paid more than once",
    "missing": "The ledger has it as paid, and no bill has it",
    "figures_differ": "The provider's figures of the order are not the ledger's",
    "breached": "The audit found a broken promise",
    "doubtful_bill": "The lines of a bill differ alike: it is likely read wrongly",
}
ATTEMPTS: Final = {
    "started": "Under way",
    "never_sent": "Never sent",
    "busy": "The provider was busy",
    "rejected": "Declined",
    "unknown": "May have been sent",
    "pending": "Taken",
    "succeeded": "Executed",
}
DEEDS: Final = {
    "opened": "Opened the case",
    "noted": "Noted",
    "assigned": "Gave it to somebody",
    "asked": "Had the provider asked",
    "sent": "Had it sent once more",
    "released": "Released the order",
    "proposed": "Proposed a settlement",
    "approved": "Approved what another person proposed",
    "withdrawn": "Took a proposal back",
    "closed": "Closed the case",
}
VERDICTS: Final = {
    "succeeded": "It was executed",
    "rejected": "It was declined",
    "pending": "It is in progress",
    "contradicts": "It names another order or amount",
    "not_ours": "Nobody here has asked for it",
}
#: Of pages and tables themselves.
LABELS: Final = {
    "title": "Refund",
    "made": "Made on",
    "account": "Account",
    "order_no": "Order",
    "amount": "Amount",
    "state": "State",
    "provider_refund_no": "Provider's number",
    "reason": "What the provider said",
    "accepted_at": "Accepted",
    "due_at": "Next step due",
    "asked": "Questions asked",
    "last_answer": "Last answer",
    "order": "The order, by now",
    "order_amount": "Total",
    "paid_amount": "Paid",
    "refunded_before": "Refunded before",
    "refunded": "Refunded",
    "reserved": "Reserved",
    "excess": "Beyond what was paid",
    "provider_refunded": "Refunded, says the provider",
    "provider_left": "Left, says the provider",
    "figures_at": "The provider said so",
    "events": "What happened",
    "attempts": "Attempts to submit",
    "callbacks": "The provider's own messages",
    "cases": "Cases",
    "exchanges": "What was sent, and what came back (masked)",
    "entries": "What was done about cases",
    "proposals": "Settled by two persons",
    "question": "Asked:",
    "request": "Sent",
    "answer": "Came back",
    "case": "Case",
    "kind": "Kind",
    "subject": "About",
    "close_by": "To be closed by",
    "refund_no": "Refund's number",
    "evidence": "Evidence",
    "who": "Who",
    "why": "Why",
    "became": "Became",
    "second": "By whom",
    "approved": "approved",
    "withdrawn": "withdrawn",
    "number": "No.",
    "at": "When",
    "what": "What",
    "attempt": "Attempt",
    "detail": "In detail",
    "started_at": "Begun",
    "finished_at": "Ended",
    "code": "Code",
    "message": "Message",
    "times": "Times",
    "owner": "Owner",
    "opened_at": "Opened",
    "closed_at": "Closed",
    "none": "none",
    "open": "open",
}
TABLES: Final = (STATES, EVENTS, CASES, ATTEMPTS, DEEDS, VERDICTS, LABELS)


class Language(StrEnum):
    """What a page may be in."""

    EN = "en"
    ZH = "zh"


def language_of(environment: Mapping[str, str]) -> Language:
    """What a terminal's environment asks for, where nobody says it: English, unless Chinese."""
    names = (environment.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    wanted = next((name for name in names if name), "")
    return Language.ZH if wanted.lower().startswith("zh") else Language.EN


class Words:
    """The words of one language."""

    def __init__(self, language: Language) -> None:
        plain = language is Language.EN
        wanted = [language.value]
        self._catalogue = (
            gettext.NullTranslations()
            if plain
            else gettext.translation(DOMAIN, _CATALOGUES, languages=wanted)
        )
        #: As HTML names it.
        self.tag = "en" if plain else "zh-CN"

    def of(self, table: Mapping[str, str], code: str) -> str:
        """A code in words; one without words as it stands."""
        return self._catalogue.gettext(table[code]) if code in table else code


def money(fen: int, currency: str) -> str:
    """An amount in fen as people write it: ``¥1,234.56``."""
    sign, whole = "-" if fen < 0 else "", abs(fen)
    symbol = "¥" if currency == "CNY" else f"{currency} "
    return f"{sign}{symbol}{whole // 100:,}.{whole % 100:02d}"


def moment(at: datetime) -> str:
    """A time as the provider's side writes it, in Asia/Shanghai, to the second."""
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S} +08:00"
