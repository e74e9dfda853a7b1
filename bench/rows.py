"""The rows of the table: what is asked of every peer, and how a run becomes a figure."""

import statistics
from dataclasses import dataclass, field

import load

IDLE_CONNECTIONS = 10_000


@dataclass
class Row:
    """One kind of request. `wanted` is the most that rsp may cost, as a ratio to a peer."""

    name: str
    title: str
    path: str
    connections: int = 32
    headers: tuple = ()
    peers: tuple = ("rsp", "nginx", "haproxy", "floor")
    wanted: dict = field(default_factory=dict)
    once: bool = False

    def measure(self, peer, seconds):
        """CPU microseconds a request and requests a second."""
        before = peer.cpu_seconds()
        result = load.wrk(peer.port, self.path, seconds, self.connections, self.headers)
        spent = peer.cpu_seconds() - before
        if result["failed"]:
            raise RuntimeError(f"{peer.name}, {self.name}: {result['failed']} requests failed")
        return {"cost": spent / result["requests"] * 1e6, "rate": result["rate"]}


LOADS = [
    Row("small", "small keep-alive GET", "/small", wanted={"nginx": 0.85, "haproxy": 0.70}),
    Row("100k", "100 KiB body", "/100k", connections=16, wanted={"nginx": 0.65}),
    Row("1m", "1 MiB body", "/1m", connections=8, wanted={"nginx": 0.70}),
    Row("connect", "a connection per request", "/small", headers=("Connection: close",), wanted={"nginx": 0.85}),
    Row("static", "static file of 10 KiB", "/static/10k.txt", peers=("rsp", "nginx"), wanted={"nginx": 1.0}),
]


@dataclass
class IdleRow:
    """User memory of idle keep-alive connections; bytes a connection instead of CPU."""

    name: str = "idle"
    title: str = f"{IDLE_CONNECTIONS:,} idle keep-alive connections, bytes each"
    peers: tuple = ("rsp", "nginx", "haproxy")
    wanted: dict = field(default_factory=lambda: {"bytes": 2048})
    # The memory of idle connections does not vary from round to round.
    once: bool = True

    def measure(self, peer, _seconds):
        load.Idle(peer, "/small", 100).close()
        before = peer.user_memory()
        idle = load.Idle(peer, "/small", IDLE_CONNECTIONS)
        try:
            return {"cost": (peer.user_memory() - before) / IDLE_CONNECTIONS, "rate": None}
        finally:
            idle.close()


ROWS = [*LOADS, IdleRow()]
NAMES = [row.name for row in ROWS]


def in_words(figures):
    return " ".join(f"{value:.2f}" for value in figures.values() if value is not None)


def median(results, peer, key):
    figures = [round_[peer][key] for round_ in results if round_.get(peer) and round_[peer][key] is not None]
    return statistics.median(figures) if figures else None


def ratio(results, peer, key="cost"):
    """rsp's figure by the peer's, taken within each round."""
    both = [round_ for round_ in results if round_.get("rsp") and round_.get(peer)]
    return statistics.median([round_["rsp"][key] / round_[peer][key] for round_ in both]) if both else None


def as_markdown(measured):
    """The table; `measured` is a list of (row, [{peer: figures} for each round])."""
    lines = [
        "| | rsp | nginx | HAProxy | floor | rsp ÷ nginx | rsp ÷ HAProxy | wanted | requests/s: rsp | nginx | HAProxy |",
        "|---|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|",
    ]
    for row, results in measured:
        costs = [figure(median(results, peer, "cost"), ".1f") for peer in ("rsp", "nginx", "haproxy", "floor")]
        ratios = [figure(ratio(results, peer), ".2f") for peer in ("nginx", "haproxy")]
        rates = [figure(median(results, peer, "rate"), ",.0f") for peer in ("rsp", "nginx", "haproxy")]
        lines.append(f"| {row.title} | {' | '.join(costs + ratios)} | {_wanted(row)} | {' | '.join(rates)} |")
    return "\n".join(lines)


def figure(value, form):
    return "–" if value is None else format(value, form)


def _wanted(row):
    names = {"nginx": "nginx", "haproxy": "HAProxy"}
    wanted = [f"≤ {most} × {names[peer]}" for peer, most in row.wanted.items() if peer in names]
    wanted += [f"≤ {row.wanted['bytes']} bytes"] if "bytes" in row.wanted else []
    return ", ".join(wanted)
