"""What may happen next: to producers, people and workers, to network, provider and clock."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from tests.integration.book import Fate
from tests.integration.ground import WORKERS
from tests.integration.puppets import Point
from tests.integration.world import World
from worker.refund import Verdict

#: Chooses one of what it is given.
Draw = Callable[[Sequence[Any]], Any]
Move = Callable[[World, Draw], None]

AMOUNTS: Final = (40, 60, 100)
NUMBERS: Final = ("A1", "A2", "A3", "B1")
FATES: Final = (Fate.EXECUTED, Fate.DECLINED, Fate.ACCEPTED, *Fate)
#: How far a worker gets: mostly to a request on its way.
POINTS: Final = (Point.ENDED, Point.SENT, Point.SENT, *Point)
#: What becomes of a worker where it stops.
ENDS: Final = ("stops", "stops", "is cut off", "is cut off after all", "dies", "dies after all")
#: What is replied to a question: what the book says, mostly; else "not found", or nothing.
REPLIES: Final = (None, None, None, Verdict.NOT_FOUND, Verdict.UNKNOWN)
#: Past the send deadline, the lease, the grace, the time that "not found" is doubted.
WAITS: Final = (6.0, 50.0, 330.0, 610.0)


def request(world: World, draw: Draw) -> None:
    world.request(draw(NUMBERS), draw(AMOUNTS))


def resubmit(world: World, draw: Draw) -> None:
    world.resubmit(draw(world.numbers("failed")))


def cancel(world: World, draw: Draw) -> None:
    world.cancel(draw(world.numbers("queued")))


def pause_or_resume(world: World, _: Draw) -> None:
    world.resume() if world.is_paused() else world.pause()


def hold_or_release(world: World, draw: Draw) -> None:
    order = draw(world.orders())
    world.release(order) if order in world.holds else world.hold(order)


def start(world: World, draw: Draw) -> None:
    idle = [worker for worker in range(WORKERS) if worker not in world.at_work()]
    worker, fate = draw(idle), draw(FATES)
    world.expire_locks()
    world.go(worker, draw(world.orders()), draw(POINTS), fate)
    world.end(worker, draw(ENDS), fate)


def go_on(world: World, draw: Draw) -> None:
    worker, fate, end = draw(world.at_work()), draw(FATES), draw(ENDS)
    if end == "stops":
        world.go(worker, "", draw(POINTS), fate)
    world.end(worker, end, fate)


def compete(world: World, draw: Draw) -> None:
    """A message that comes twice, to a worker that finds the order's lock as it is."""
    idle = [worker for worker in range(WORKERS) if worker not in world.at_work()]
    world.go(draw(idle), draw(world.orders()), Point.ENDED, draw(FATES))


def sweep(world: World, draw: Draw) -> None:
    for order in world.sweep():
        world.go(WORKERS, order, Point.ENDED, draw(FATES))


def poll(world: World, draw: Draw) -> None:
    world.wait_until_due()
    world.poll(draw(REPLIES))


def ask(world: World, draw: Draw) -> None:
    world.wait_until_due()
    world.claim_questions()
    while world.questions:
        world.ask(world.questions.pop(), draw(REPLIES))


def apply(world: World, draw: Draw) -> None:
    reply = draw(world.replies)
    world.replies.remove(reply)
    world.apply(*reply)


def arrive(world: World, draw: Draw) -> None:
    world.arrive(draw(world.copies), draw(FATES))


def lose(world: World, draw: Draw) -> None:
    world.lose(draw(world.copies))


def repeat(world: World, draw: Draw) -> None:
    world.repeat(draw(world.copies))


def settle(world: World, draw: Draw) -> None:
    world.settle(draw(world.book.processing()), well=draw((True, False)))


def tell(world: World, draw: Draw) -> None:
    world.tell(*draw(world.book.told), stale=draw((False, False, True)))


def wait(world: World, draw: Draw) -> None:
    world.wait(draw(WAITS), draw((None, *FATES)))


def lose_the_answer(world: World, draw: Draw) -> None:
    """Work that nobody hears the end of: the worker stops, is cut off or dies after sending."""
    idle = [worker for worker in range(WORKERS) if worker not in world.at_work()]
    worker, fate = draw(idle), draw(FATES)
    world.expire_locks()
    world.go(worker, draw(world.orders()), Point.SENT, fate)
    world.end(worker, draw(ENDS), fate)


def reap(world: World, draw: Draw) -> None:
    """A sweep after the lease, and workers who take what it wakes."""
    world.wait(draw(WAITS), draw((None, *FATES)))
    world.expire_locks()
    sweep(world, draw)


def poll_in_vain(world: World, _: Draw) -> None:
    world.wait_until_due()
    world.poll(Verdict.NOT_FOUND)


def possible(world: World) -> list[Move]:
    """What may happen; what matters more is there more often."""
    return [move for move, times in _possible(world) for _ in range(times)]


def with_lost_answers(world: World) -> list[Move]:
    """The little of it that leads from a lost answer to a number that is sent again."""
    return [move for move, times in _with_lost_answers(world) for _ in range(times)]


def _with_lost_answers(world: World) -> Iterator[tuple[Move, int]]:
    yield lose_the_answer, 3 if len(world.at_work()) < WORKERS else 0
    yield go_on, 2 if world.at_work() else 0
    yield reap, 2
    yield from ((poll, 1), (poll_in_vain, 3)) if world.account.query else ()
    yield arrive, 2 if world.copies else 0
    yield settle, 1 if world.book.processing() else 0
    yield tell, 1 if world.notifies and world.book.told else 0


def _possible(world: World) -> Iterator[tuple[Move, int]]:
    idle = len(world.at_work()) < WORKERS
    yield request, 1
    yield resubmit, 3 if world.nature.takes_declined and world.numbers("failed") else 0
    yield cancel, 1 if world.numbers("queued") else 0
    yield pause_or_resume, 3 if world.is_paused() else 1
    yield hold_or_release, 3 if world.holds else 1
    yield start, 5 if idle else 0
    yield compete, 1 if idle and world.locks.held else 0
    yield go_on, 4 if world.at_work() else 0
    yield sweep, 1
    yield from ((poll, 3), (ask, 2)) if world.account.query else ()
    yield apply, 3 if world.replies else 0
    yield from ((arrive, 4), (lose, 1)) if world.copies else ()
    yield repeat, 1 if world.copies and world.may_repeat else 0
    yield settle, 3 if world.book.processing() else 0
    yield tell, 2 if world.notifies and world.book.told else 0
    yield wait, 2
