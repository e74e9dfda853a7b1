"""The rows of the table of programs: what clients ask of both servers, and which figures come of it."""

import time
from dataclasses import dataclass

import lines
import programs
from lines import Line

KIB = 1 << 10
ONCE, BURST, HELD, CHURNED = 500, 500, 1_000, 1_000
CONNECTIONS = 4


@dataclass
class Once:
    """Client after client, each until it has its first line back."""

    name: str = "once"
    peers: tuple = ("rsp", "websocketd")
    once: bool = False
    lines: tuple = (Line("from connecting to the first line back, one client at a time: median ms", "cost", ".2f", {"websocketd": 0.8}),
                    Line("– the same: 99th percentile", "p99", ".2f"))

    def measure(self, peer, _seconds):
        programs.talk(peer, "once", 50)
        seen = programs.talk(peer, "once", ONCE)
        return {"cost": seen["median_ms"], "p99": seen["p99_ms"]}


@dataclass
class Burst:
    """Many clients at once."""

    name: str = "burst"
    peers: tuple = ("rsp", "websocketd")
    once: bool = False
    lines: tuple = (Line(f"{BURST} clients at once: ms until the last one has its first line back", "cost", ".0f", {"websocketd": 0.8}),)

    def measure(self, peer, _seconds):
        seen = programs.talk(peer, "burst", BURST)
        peer.settle()
        return {"cost": seen["seconds"] * 1e3}


@dataclass
class Echo:
    """Lines there and back: what the server spends on each, without the program."""

    window: int
    peers: tuple = ("rsp", "websocketd")
    once: bool = False

    @property
    def name(self):
        return f"echo-{self.window}"

    @property
    def lines(self):
        what = f"lines of 64 bytes there and back, {CONNECTIONS} clients, {self.window} of each under way"
        # 1.5 times as many a CPU second.
        return [Line(f"{what}: µs of CPU a line", "cost", ".2f", {"websocketd": 0.67}), Line("– the same: lines a second", "rate", ",.0f")]

    def measure(self, peer, seconds):
        programs.talk(peer, "echo", CONNECTIONS, self.window, 0)
        before = peer.own_cpu_seconds()
        with programs.talking(peer, "echo", CONNECTIONS, self.window, seconds) as seen:
            spent = peer.own_cpu_seconds() - before
        return {"cost": spent / seen["messages"] * 1e6, "rate": seen["messages"] / seen["seconds"]}


@dataclass
class Held:
    """Memory of a server whose programs wait."""

    name: str = "idle"
    peers: tuple = ("rsp", "websocketd")
    once: bool = True
    lines: tuple = (Line(f"{HELD:,} programs that wait: KiB of the server's memory each", "cost", ".1f", {"KiB": 16}),)

    def measure(self, peer, _seconds):
        with peer.afresh() as fresh:
            with programs.talking(fresh, "hold", 100):
                pass
            fresh.settle()
            before = fresh.own_memory()
            with programs.talking(fresh, "hold", HELD):
                # What a connection holds while it is busy it gives back a little later.
                time.sleep(1)
                return {"cost": (fresh.own_memory() - before) / HELD / KIB}


@dataclass
class Churn:
    """What clients leave behind that came and went."""

    name: str = "churn"
    peers: tuple = ("rsp", "websocketd")
    once: bool = True
    lines: tuple = (Line(f"{CHURNED:,} clients that came and went: processes, zombies and descriptors left after 1 s", "left", ".0f", {"": 0}),)

    def measure(self, peer, _seconds):
        programs.talk(peer, "churn", 10)
        before = peer.settle()
        programs.talk(peer, "churn", CHURNED)
        time.sleep(1)
        return {"left": sum(max(0, now - then) for now, then in zip(peer.left(), before))}


ROWS = [Once(), Burst(), Echo(1), Echo(64), Held(), Churn()]
NAMES = [row.name for row in ROWS]
PEERS = {"rsp": "rsp", "websocketd": "websocketd"}


def as_markdown(measured):
    return lines.as_markdown(measured, PEERS)
