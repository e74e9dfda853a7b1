"""Load on a proxy: wrk and ab from Debian, and many idle connections held by a process of their own."""

import os
import re
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from peers import BUILD, LOAD_CORE

HERE = Path(__file__).resolve().parent


def wrk(port, path, seconds, connections, headers=(), script=None, arguments=()):
    """Requests answered, requests a second, and how many failed."""
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    for header in headers:
        command += ["-H", header]
    if script:
        command += ["-s", str(script)]
    text = run([*command, f"http://127.0.0.1:{port}{path}", *(["--", *map(str, arguments)] if arguments else [])])
    failed = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    failed += sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
    return {
        "requests": int(re.search(r"(\d+) requests in", text)[1]),
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "failed": failed,
    }


def ab(port, path, requests, connections):
    """Failed requests, and the mean time a request in milliseconds."""
    command = ["taskset", "-c", LOAD_CORE, "ab", "-q", "-k", "-n", str(requests), "-c", str(connections)]
    text = run([*command, f"http://127.0.0.1:{port}{path}"])
    failed = int(re.search(r"Failed requests:\s+(\d+)", text)[1])
    failed += sum(map(int, re.findall(r"Non-2xx responses:\s+(\d+)", text)))
    mean = float(re.search(r"Time per request:\s+([\d.]+) \[ms\] \(mean, across", text)[1]) * connections
    return {"failed": failed + requests - int(re.search(r"Complete requests:\s+(\d+)", text)[1]), "mean_ms": mean}


@contextmanager
def on_load_core():
    """This thread stays off the proxy's core in here."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def paced(port, seconds, every=0.002):
    """The 99th percentile, in milliseconds, of the times of small requests made one each `every` seconds."""
    times = []
    with on_load_core(), socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.monotonic() + seconds
        while (start := time.monotonic()) < end:
            sock.sendall(b"GET /small HTTP/1.1\r\nHost: bench\r\n\r\n")
            answer = sock.recv(4096)
            while not answer.endswith(b"\r\n\r\nabcdefghijklm"):
                more = sock.recv(4096)
                if not more:
                    raise RuntimeError(f"closed after {answer!r}")
                answer += more
            took = time.monotonic() - start
            times.append(took)
            time.sleep(max(0, every - took))
    return statistics.quantiles(times, n=100)[98] * 1e3


class Dribble:
    """Connections that send one byte of a head a second, from several processes, for a while."""

    def __init__(self, port, count, seconds, processes=4):
        share = str(count // processes)
        # They share a core with origin and measured client, who must not wait for them: SCHED_IDLE.
        command = ["taskset", "-c", LOAD_CORE, "chrt", "-i", "0", str(BUILD / "dribble"), str(port), share, str(seconds)]
        start = lambda number: subprocess.Popen([*command, str(1 + number)], stdout=subprocess.PIPE, text=True)
        self.children = [start(number) for number in range(processes)]

    def wait(self):
        """How often a connection was opened, how many were answered 408, how many ended without an answer."""
        said = [child.communicate()[0] for child in self.children]
        if any(child.returncode for child in self.children):
            raise RuntimeError("a part of the slow clients did not run")
        return [sum(column) for column in zip(*(map(int, text.split()) for text in said))]


class Idle:
    """Keep-alive connections that made one request each and now do nothing, until closed."""

    def __init__(self, peer, path, count):
        command = [sys.executable, str(HERE / "hold.py"), str(peer.port), path, str(count)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = self.child.stdout.readline().strip()
        if ready != "ready":
            raise RuntimeError(f"{peer.name}: {count} connections could not be held: {ready}")

    def close(self):
        self.child.communicate("close\n")


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
