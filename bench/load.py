"""Load on a proxy: wrk and ab from Debian, and many idle connections held by a process of their own."""

import re
import subprocess
import sys
from pathlib import Path

from peers import LOAD_CORE

HERE = Path(__file__).resolve().parent


def wrk(port, path, seconds, connections, headers=()):
    """Requests answered, requests a second, and how many failed."""
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    for header in headers:
        command += ["-H", header]
    text = run([*command, f"http://127.0.0.1:{port}{path}"])
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
