"""What evidence does that may come after the end: a positive, or what contradicts a final state.

Pure. Nothing here overwrites a final state (protocol, I8).
"""

from dataclasses import replace

from worker.refund import OPEN, SUCCEEDED, Attempt, Case, Change, Standing, Verdict


def absorb(standing: Standing, attempt: Attempt | None) -> Change | None:
    """Positive evidence counts whatever attempt it came from; it never overwrites a final state."""
    if standing.state in OPEN:
        after = replace(standing, state=SUCCEEDED, known=True)
        return Change(event="succeeded", standing=after, attempt=attempt)
    if standing.state is SUCCEEDED or standing.contested:
        return None
    return contradiction(standing, attempt)


def contradiction(standing: Standing, attempt: Attempt | None = None) -> Change:
    """Reserve the amount again, stop the order, and hand it to a person."""
    return Change(
        event="contradicted",
        standing=replace(standing, known=True, contested=True),
        attempt=attempt,
        case=Case.CONTRADICTED,
        freezes=True,
    )


def watched(standing: Standing, verdict: Verdict) -> Change | None:
    """A final refund was asked about again; what contradicts it opens a case."""
    if standing.contested:
        return None
    if standing.state is SUCCEEDED:
        return _watched_success(standing, verdict)
    if verdict in (Verdict.PENDING, Verdict.KNOWN):
        return contradiction(standing)
    return None


def _watched_success(standing: Standing, verdict: Verdict) -> Change | None:
    if verdict is Verdict.REJECTED:
        return Change(event="contradicted", standing=standing, case=Case.CONTRADICTED, freezes=True)
    if verdict is Verdict.NOT_FOUND:
        return Change(event="vanished", standing=standing, case=Case.VANISHED)
    return None
