"""kombu's Redis transport, but messages are acknowledged and taken many at a time.

kombu makes a round trip to take a message, another to note that somebody has it and a third to
acknowledge it, all in the worker's event loop, which is most of what a busy worker then does; and
between the first two the message is nowhere, so that a worker that is killed loses it. Here,
whenever tasks have ended, what they acknowledge and what may be taken in their place go in one
round trip, and a script notes each message before it takes it. A worker that has room and nothing
to acknowledge waits by ``BRPOP`` as before.
"""

import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import kombu.transport
import redis
import structlog

from worker.celery_shim import transport as redis_transport

_log = structlog.get_logger(__name__)

#: What is taken at once at most.
_MOST: Final = 64

#: Takes messages from the right of lists, in turns; from those of the first priority first.
#: KEYS: the index by time, the hash of what is not acknowledged, then the lists.
#: ARGV: how many at most, the time, how many lists there are of each priority.
#: Gives for each the place of its list, its text, and the tag that it was noted by; "" where it is
#: no message of kombu's, which is noted by who wraps it into one.
_TAKE: Final = """
local room, now, width = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local taken = {}
local function note(text)
  local read, message = pcall(cjson.decode, text)
  local properties = read and type(message) == 'table' and message.properties
  local from = type(properties) == 'table' and properties.delivery_info
  local tag = type(from) == 'table' and properties.delivery_tag
  if type(tag) ~= 'string' or type(from.exchange) ~= 'string'
      or type(from.routing_key) ~= 'string' then
    return ''
  end
  local source = cjson.encode(from.exchange) .. ',' .. cjson.encode(from.routing_key)
  redis.call('HSET', KEYS[2], tag, '[' .. text .. ',' .. source .. ']')
  redis.call('ZADD', KEYS[1], now, tag)
  return tag
end
for first = 3, #KEYS, width do
  local more = true
  while more do
    more = false
    for place = first, first + width - 1 do
      local text = room > 0 and redis.call('LINDEX', KEYS[place], -1)
      if text then
        local tag = note(text)
        redis.call('RPOP', KEYS[place])
        for _, one in ipairs({place, text, tag}) do taken[#taken + 1] = one end
        room, more = room - 1, true
      end
    end
  end
end
return taken
"""


class QoS(redis_transport.QoS):  # type: ignore[misc]  # kombu has no types
    """What a channel holds; what was acknowledged is kept until the channel tells Redis."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._acknowledged: deque[str] = deque()

    def expect(self, delivery_tag: str) -> None:
        """Hold a message that Redis has noted, and that is delivered next."""
        self._delivered[delivery_tag] = None

    def append(self, message: Any, delivery_tag: str) -> None:
        """Hold a message; Redis notes it, unless it has."""
        if self._delivered.get(delivery_tag, message) is None:
            super(redis_transport.QoS, self).append(message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge at the loop's next turn; at once where there is none any more."""
        if self.channel.closed:
            super().ack(delivery_tag)
        else:
            self._acknowledged.append(delivery_tag)
            super(redis_transport.QoS, self).ack(delivery_tag)

    def acknowledged(self) -> list[str]:
        """What Redis is to be told, once."""
        return [self._acknowledged.popleft() for _ in range(len(self._acknowledged))]

    def forget(self, pipe: Any, delivery_tags: Iterable[str]) -> None:
        """Have Redis forget messages; where only the first is done, restoring does the second."""
        pipe.hdel(self.unacked_key, *delivery_tags).zrem(self.unacked_index_key, *delivery_tags)


class Channel(redis_transport.Channel):  # type: ignore[misc]
    """A channel that acknowledges and takes many messages at a time."""

    QoS = QoS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: Queues whose messages nobody acknowledges, such as a control command's answers.
        self._unacknowledged: set[str] = set()
        super().__init__(*args, **kwargs)

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        """Begin to take from a queue."""
        (self._unacknowledged.add if no_ack else self._unacknowledged.discard)(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def close(self) -> None:
        """What Redis cannot be told now is delivered again when its time is over."""
        if not self.closed and (done := self.qos.acknowledged()):
            try:
                self._exchange(done, room=0)
            except (redis.RedisError, OSError) as error:
                _log.warning("redis_transport.not_acknowledged", error=str(error))
        super().close()

    def settle(self) -> None:
        """Tell Redis what is done, and take what there is room for then."""
        if not (done := self.qos.acknowledged()):
            return
        room = min(self.qos.can_consume_max_estimate() or 0, _MOST)
        if self._in_poll:  # its answer has to have room as well
            room -= 1
        for queue, message in self._exchange(done, room):
            self._queue_cycle.rotate(queue)
            self.connection._deliver(message, queue)

    def _exchange(self, done: list[str], room: int) -> list[tuple[str, Any]]:
        queues = self._queues_in_turn() if room > 0 else []
        with self.conn_or_acquire() as client:
            pipe = client.pipeline(transaction=False)
            self.qos.forget(pipe, done)
            if queues:
                self._take(pipe, queues, room)
            answers = pipe.execute(raise_on_error=False)
        for answer in answers[:2]:
            if isinstance(answer, Exception):
                raise answer
        return self._messages(queues, answers[2]) if queues else []

    def _queues_in_turn(self) -> list[str]:
        turns = self._queue_cycle.consume(len(self.active_queues))
        return [queue for queue in turns if queue not in self._unacknowledged]

    def _take(self, pipe: Any, queues: list[str], room: int) -> None:
        lists = [self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues]
        keys = (self.qos.unacked_index_key, self.qos.unacked_key, *lists)
        pipe.eval(_TAKE, len(keys), *keys, room, time.time(), len(queues))

    def _messages(self, queues: list[str], taken: Any) -> list[tuple[str, Any]]:
        """Each with its queue. Redis may have no room to note any, and lets none be taken then."""
        if isinstance(taken, redis.ResponseError):
            _log.warning("redis_transport.not_taken", error=str(taken))
            return []
        triples = zip(taken[::3], taken[1::3], taken[2::3], strict=True)
        return [
            (queues[(place - 3) % len(queues)], self._read(text, redis_transport.bytes_to_str(tag)))
            for place, text, tag in triples
        ]

    def _read(self, text: bytes, noted: str) -> Any:
        """The message; one that had to be wrapped has another tag than it was noted by."""
        message = redis_transport.loads(redis_transport.bytes_to_str(text))
        if message["properties"]["delivery_tag"] == noted:
            self.qos.expect(noted)
        elif noted:
            with self.conn_or_acquire() as client:
                self.qos.forget(pipe := client.pipeline(), [noted])
                pipe.execute()
        return message


class Poller(redis_transport.MultiChannelPoller):  # type: ignore[misc]
    """Has its channels tell Redis what is done before it waits for more."""

    def on_poll_start(self) -> None:
        """Begin a turn of the loop."""
        for channel in list(self._channels):
            channel.settle()
        super().on_poll_start()


class Transport(redis_transport.Transport):  # type: ignore[misc]
    """kombu's transport with such channels."""

    Channel = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = Poller()


def install_transport() -> None:
    """Have kombu use it wherever a URL names Redis; by Sentinel it goes on as it did."""
    for scheme in ("redis", "rediss"):
        kombu.transport.TRANSPORT_ALIASES[scheme] = f"{__name__}:{Transport.__name__}"
