"""The rows of the table of TLS: what is asked of every peer, and which figures come of it."""

import time
from dataclasses import dataclass

import lines
import tls
from lines import Line

IDLE, THROUGH = 10_000, 5_000
KIB = 1 << 10
OPENING = ("rsp", "nginx", "haproxy")
PASSING = (*OPENING, "splice")


@dataclass
class Requests:
    """Small requests on connections that are there already."""

    name: str
    words: str
    clients: int
    streams: int
    http1: bool
    wanted: dict
    peers: tuple = OPENING
    once: bool = False

    @property
    def lines(self):
        return [Line(f"small keep-alive GET, {self.words}: µs of CPU a request", "cost", ".1f", self.wanted),
                Line("– the same: requests a second", "rate", ",.0f")]

    def measure(self, peer, seconds):
        before = peer.cpu_seconds()
        done = tls.h2load(peer.port, tls.OPENED, "/small", seconds, self.clients, self.streams, self.http1)
        return {"cost": (peer.cpu_seconds() - before) / done["requests"] * 1e6, "rate": done["rate"]}


@dataclass
class Handshakes:
    """Connections that are opened and closed."""

    name: str
    words: str
    wanted: dict
    peers: tuple = OPENING
    once: bool = False

    @property
    def lines(self):
        return [Line(f"{self.words}, without a request: µs of CPU each", "cost", ".0f", self.wanted),
                Line("– the same: a second", "rate", ",.0f")]

    def measure(self, peer, seconds):
        with tls.Clients(peer.port, tls.OPENED, self.name, seconds, 8) as clients:
            before = peer.cpu_seconds()
            done = clients.go()
            spent = peer.cpu_seconds() - before
        if done["resumed"] != (done["handshakes"] if self.name == "resumed" else 0):
            raise RuntimeError(f"{peer.name} resumed {done['resumed']} of {done['handshakes']}")
        return {"cost": spent / done["handshakes"] * 1e6, "rate": done["handshakes"] / done["seconds"]}


@dataclass
class Through:
    """Large bodies on connections that are passed through by their name."""

    name: str = "through"
    peers: tuple = PASSING
    once: bool = False
    lines: tuple = (Line("passed through by SNI, bodies of 1 MiB: µs of CPU each", "cost", ".0f", {"haproxy": 0.70, "splice": 1.0}),
                    Line("– the same: MiB a second", "rate", ",.0f"))

    def measure(self, peer, seconds):
        before = peer.cpu_seconds()
        done = tls.h2load(peer.through_port, tls.THROUGH, "/1m", seconds, 8, 1, http1=True)
        return {"cost": (peer.cpu_seconds() - before) / done["requests"] * 1e6, "rate": done["rate"]}


@dataclass
class Idle:
    """User memory of connections that had a request each and now do nothing."""

    name: str
    words: str
    count: int
    through: bool
    wanted: dict
    peers: tuple = OPENING
    once: bool = True

    @property
    def lines(self):
        return [Line(f"{self.count:,} idle connections, {self.words}: KiB of memory each", "cost", ".1f", self.wanted)]

    def measure(self, peer, _seconds):
        with peer.afresh() as fresh:
            where = (fresh.through_port, tls.THROUGH) if self.through else (fresh.port, tls.OPENED)
            with tls.Clients(*where, "hold", 100):
                pass
            time.sleep(1)
            before = fresh.user_memory()
            with tls.Clients(*where, "hold", self.count):
                # What a connection holds while it is busy it gives back a little later.
                time.sleep(1)
                return {"cost": (fresh.user_memory() - before) / self.count / KIB}


ROWS = [
    Requests("http1", "HTTP/1.1", 32, 1, True, {"nginx": 0.80}),
    Requests("http2", "HTTP/2, 16 clients of 16 streams", 16, 16, False, {"haproxy": 0.90}),
    Handshakes("full", "full handshake", {"nginx": 0.85}),
    Handshakes("resumed", "handshake that resumes by a ticket", {"nginx": 0.85}),
    Through(),
    Idle("idle", "opened", IDLE, False, {"KiB": 24}),
    Idle("idle-through", "passed through", THROUGH, True, {"KiB": 3}, PASSING),
]
NAMES = [row.name for row in ROWS]
PEERS = {"rsp": "rsp", "nginx": "nginx", "haproxy": "HAProxy", "splice": "HAProxy that splices"}


def as_markdown(measured):
    return lines.as_markdown(measured, PEERS)
