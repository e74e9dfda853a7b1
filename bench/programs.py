"""Programs for clients: rsp and websocketd, their clients, and what they cost without the programs that they run."""

import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import load
import peers
from peers import BUILD, LOAD_CORE, PROXY_CORE

ECHO = BUILD / "echo"


class Peer(peers.Server):
    """A server that runs a program for each client, which sends back what it is sent."""

    def __init__(self, name, folder, binary):
        self.binary, self.renewed = binary, 0
        super().__init__(name, lambda port: _command(name, port, binary), folder, PROXY_CORE)

    @contextmanager
    def afresh(self):
        """One of the same kind that has served nobody yet."""
        self.renewed += 1
        folder = self.folder / f"afresh{self.renewed}"
        folder.mkdir()
        other = Peer(self.name, folder, self.binary)
        try:
            yield other
        finally:
            other.stop()

    def pids(self):
        """The server's own processes: those of its tree that run its binary."""
        binary = os.stat(f"/proc/{self.pid}/exe")
        return [pid for pid in peers.process_tree(self.pid) if _runs(pid, binary)]

    def own_cpu_seconds(self):
        """User and system time of the server's own processes, neither of programs nor of what has ended."""
        return sum(peers.ticks(pid, ended=False) for pid in self.pids()) / peers.TICK

    def own_memory(self):
        """Private anonymous bytes of the server's own processes."""
        return sum(peers.anonymous(pid) for pid in self.pids())

    def left(self):
        """Processes that are not the server's own, zombies too, and descriptors of those that are."""
        own = self.pids()
        return len(peers.process_tree(self.pid)) - len(own), sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in own)

    def settle(self, patience=5):
        """Waits until the programs of clients before have ended, and says what is left then."""
        end = time.monotonic() + patience
        while (left := self.left())[0] and time.monotonic() < end:
            time.sleep(0.02)
        return left


def talk(peer, *arguments):
    """What clients saw that ran to their end; see talk.c for its arguments."""
    with talking(peer, *arguments) as seen:
        return seen


@contextmanager
def talking(peer, *arguments):
    """The same of clients that stay until the block has ended."""
    child = subprocess.Popen(_client(peer, arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        line = child.stdout.readline()
        if not line:
            raise RuntimeError(f"{peer.name}: {' '.join(map(str, arguments))} came to nothing:\n{peer.said()[-2000:]}")
        yield json.loads(line)
    finally:
        child.communicate()


def available(binary):
    """Names of the peers that can run here, rsp first."""
    return peers.those_found({"rsp": binary.is_file(), "websocketd": shutil.which("websocketd")})


def versions():
    return ["websocketd " + load.run(["dpkg-query", "-W", "-f", "${Version}", "websocketd"])] if shutil.which("dpkg-query") else []


def _client(peer, arguments):
    return ["taskset", "-c", LOAD_CORE, str(BUILD / "talk"), str(peer.port), *map(str, arguments)]


def _command(name, port, binary):
    program = [str(binary), "exec"] if name == "rsp" else [shutil.which("websocketd")]
    return [*program, f"--port={port}", "--address=127.0.0.1", str(ECHO)]


def _runs(pid, binary):
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/exe"), binary)
    except (FileNotFoundError, ProcessLookupError):
        return False
