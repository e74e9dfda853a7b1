"""The rows of the table of live channels: what is asked of every peer, and which figures come of it."""

import time
from dataclasses import dataclass

import lines
import live
from lines import Line

SUBSCRIBERS = 10_000
RATE = 10


@dataclass
class Fanout:
    """One channel with many subscribers of one kind: CPU a delivery, and when the last ones have a message."""

    name: str
    kind: str
    words: str
    peers: tuple = ("rsp", "nchan", "fanout")
    once: bool = False

    @property
    def lines(self):
        what = f"{SUBSCRIBERS:,} {self.words}, {RATE} messages of {live.SIZE} bytes a second"
        return [Line(f"{what}: µs of CPU a delivery", "cost", ".2f", {"nchan": 0.80, "fanout": 1.25}),
                Line("– the same: ms from publishing to receipt, 99th percentile", "p99", ".0f", {"nchan": 1.0})]

    def measure(self, peer, seconds):
        with live.Swarm(peer.port, "/c/one", SUBSCRIBERS, self.kind) as swarm:
            live.Publisher(peer.port, "/c/one", RATE, "-r", RATE).wait()
            swarm.settle(lambda seen: seen["messages"] >= RATE * SUBSCRIBERS)
            swarm.tell("forget")
            cost = delivery(peer, swarm, seconds)
            return {"cost": cost * 1e6, "p99": swarm.stat()["p99_ms"]}


def delivery(peer, swarm, seconds):
    """CPU seconds for a delivery to subscribers that got nothing else since they were told to forget."""
    count = RATE * seconds
    before = peer.cpu_seconds()
    live.Publisher(peer.port, "/c/one", count, "-r", RATE).wait()
    seen = swarm.settle(lambda seen: seen["messages"] >= count * SUBSCRIBERS)
    spent = peer.cpu_seconds() - before
    if seen["messages"] != count * SUBSCRIBERS or seen["gaps"]:
        raise RuntimeError(f"{peer.name}: {seen['messages']:,} messages came of {count * SUBSCRIBERS:,}, {seen['gaps']} missing")
    return spent / seen["messages"]


@dataclass
class Idle:
    """User memory of subscribers that wait."""

    name: str
    kind: str
    words: str
    wanted: dict
    peers: tuple = ("rsp", "nchan")
    once: bool = True

    @property
    def lines(self):
        return [Line(f"{SUBSCRIBERS:,} idle {self.words}: bytes of memory each", "cost", ",.0f", self.wanted)]

    def measure(self, peer, _seconds):
        with peer.afresh() as fresh:
            live.Swarm(fresh.port, "/c/idle", 100, self.kind).close()
            time.sleep(1)
            before = fresh.user_memory()
            with live.Swarm(fresh.port, "/c/idle", SUBSCRIBERS, self.kind):
                # What a connection holds while it is busy it gives back a little later.
                time.sleep(1)
                return {"cost": (fresh.user_memory() - before) / SUBSCRIBERS}


@dataclass
class Publish:
    """What publishing costs that a plain answer does not."""

    name: str = "publish"
    peers: tuple = ("rsp", "nchan")
    once: bool = False
    lines: tuple = (Line("a POST that nobody listens to: µs of CPU above that of a POST to a plain reply", "cost", ".1f", {"µs": 6}),
                    Line("– the plain reply itself", "reply"))

    def measure(self, peer, seconds):
        reply, _ = live.posts(peer, "/reply", seconds)
        published, _ = live.posts(peer, "/c/nobody", seconds)
        return {"cost": (published - reply) * 1e6, "reply": reply * 1e6}


@dataclass
class Many:
    """Many channels of one subscriber each, beside what publishing and a delivery cost where there is one channel."""

    name: str = "many"
    peers: tuple = ("rsp", "nchan")
    once: bool = False
    lines: tuple = (Line(f"{SUBSCRIBERS:,} channels of one WebSocket each, published to in turn: µs of CPU for a message", "cost"),
                    Line("– as a ratio to a POST that nobody listens to and a delivery on one channel", "ratio", ".2f", {"": 1.2}))

    def measure(self, peer, seconds):
        published, _ = live.posts(peer, "/c/nobody", seconds)
        with live.Swarm(peer.port, "/c/one", SUBSCRIBERS, "ws") as swarm:
            delivered = delivery(peer, swarm, seconds)
        with live.Swarm(peer.port, "/c/#", SUBSCRIBERS, "ws") as swarm:
            both, count = live.posts(peer, "/c/#", seconds, SUBSCRIBERS)
            seen = swarm.settle(lambda seen: seen["messages"] >= count)
        if seen["messages"] < count:
            raise RuntimeError(f"{peer.name}: {seen['messages']:,} messages came of {count:,}")
        return {"cost": both * 1e6, "ratio": both / (published + delivered)}


ROWS = [
    Fanout("ws", "ws", "WebSockets"),
    Fanout("sse", "sse", "event streams"),
    Idle("idle-ws", "ws", "WebSockets", {"bytes": 2048}),
    Idle("idle-sse", "sse", "event streams", {}),
    Publish(),
    Many(),
]
NAMES = [row.name for row in ROWS]
PEERS = {"rsp": "rsp", "nchan": "nchan", "fanout": "floor"}


def as_markdown(measured):
    return lines.as_markdown(measured, PEERS)
