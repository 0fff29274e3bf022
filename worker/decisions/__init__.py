"""What an outcome changes, pure: every rule of the protocol that needs no database is here."""

from worker.decisions.answers import begin, cancel, decide_answer, reap, resubmit
from worker.decisions.notifications import decide_mismatch, decide_notification
from worker.decisions.questions import decide_question
from worker.decisions.settlements import BY_PEOPLE, SETTLED, let_go, send_again, settle

__all__ = [
    "BY_PEOPLE",
    "SETTLED",
    "begin",
    "cancel",
    "decide_answer",
    "decide_mismatch",
    "decide_notification",
    "decide_question",
    "let_go",
    "reap",
    "resubmit",
    "send_again",
    "settle",
]
