"""What an outcome changes, pure: every rule of the protocol that needs no database is here."""

from worker.decisions.answers import begin, cancel, decide_answer, reap, resubmit
from worker.decisions.notifications import decide_mismatch, decide_notification
from worker.decisions.questions import decide_question

__all__ = [
    "begin",
    "cancel",
    "decide_answer",
    "decide_mismatch",
    "decide_notification",
    "decide_question",
    "reap",
    "resubmit",
]
