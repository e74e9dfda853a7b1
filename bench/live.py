"""Live channels: the servers that are compared, their subscribers and their publishers."""

import json
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import load
import peers
from peers import BUILD, LOAD_CORE, PROXY_CORE

NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
SIZE = 128

NCHAN = """
load_module {module};
daemon off; {user} worker_processes 1; worker_rlimit_nofile 20000; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 19000; }}
http {{
  access_log off; server_tokens off; nchan_shared_memory_size 1024M;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  keepalive_timeout 600s; keepalive_requests 1000000000;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /reply {{ return 200; }}
    location /c/ {{
      nchan_pubsub; nchan_channel_id $uri; nchan_store_messages off;
      nchan_websocket_ping_interval 0; nchan_subscriber_timeout 0;
    }}
  }}
}}
"""

RSP = """
listen "127.0.0.1:{port}"
workers(1)
log {{ format = "none" }}
{statements}
site "*" {{
  ["/reply"] = reply(200),
  ["/c/{{name}}"] = channel {{ "c:{{name}}", {options} }},
}}
"""


class Peer(peers.Server):
    """A server with channels below /c/, which anybody may publish to, and a POST to /reply for comparison."""

    def __init__(self, name, folder, binary, options='ping = "10m"', statements=""):
        self.binary, self.renewed = binary, 0
        command_on = lambda port: _command(name, port, folder, binary, options, statements)
        super().__init__(name, command_on, folder, PROXY_CORE)

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

    def channels(self):
        """How many channels rsp has; None if its admin API doesn't say."""
        socket = f"{self.folder / 'site.lua'}.sock"
        done = subprocess.run(["curl", "--silent", "--fail", "--unix-socket", socket, "http://rsp/channels"],
                              capture_output=True, text=True)
        return json.loads(done.stdout)["channels_total"] if done.returncode == 0 else None


class Swarm:
    """Subscribers in a process of their own; see swarm.c for its commands."""

    def __init__(self, port, path, count, kind, size=SIZE):
        command = ["taskset", "-c", LOAD_CORE, str(BUILD / "swarm"), str(port), path, str(count), kind, str(size)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.child.stdout.readline().strip() != "ready":
            self.close()
            raise RuntimeError(f"{count} subscribers to {path} did not get in")

    def tell(self, command):
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()

    def stat(self):
        self.tell("stat")
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError("the subscribers ended")
        return json.loads(line)

    def settle(self, enough, patience=5):
        """What was seen once it is enough, or once no more has come for so many seconds."""
        seen, last = self.stat(), time.monotonic()
        while not enough(seen) and time.monotonic() < last + patience:
            time.sleep(0.2)
            before, seen = seen["messages"], self.stat()
            last = time.monotonic() if seen["messages"] != before else last
        return seen

    def close(self):
        self.child.stdin.close()
        self.child.wait(30)
        self.child.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Publisher:
    """One connection that publishes, in a process of its own; see publish.c for its options."""

    def __init__(self, port, path, count, *options):
        command = ["taskset", "-c", LOAD_CORE, str(BUILD / "publish"), *map(str, options), str(port), path, str(count)]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def wait(self):
        text = self.child.communicate()[0]
        if self.child.returncode:
            raise RuntimeError("a publisher did not come to its end")
        return json.loads(text)

    def stop(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()


class Redis(peers.Process):
    """A Redis that has written what it acknowledged; another one in the same folder goes on from there."""

    def __init__(self, folder, port=None):
        self.port = port or peers.free_port()
        super().__init__(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
                          "--appendonly", "yes", "--appendfsync", "always"], folder, LOAD_CORE)
        if not peers.wait_until_listening(self):
            raise RuntimeError(f"Redis did not start:\n{self.said()}")

    def forget(self):
        shutil.rmtree(self.folder / "appendonlydir")


def posts(peer, path, seconds, channels=1):
    """CPU seconds of the server for a POST, and how many were answered."""
    before = peer.cpu_seconds()
    done = load.wrk(peer.port, "/", seconds, 32, script=peers.HERE / "live" / "post.lua", arguments=(path, channels))
    if done["failed"]:
        raise RuntimeError(f"{peer.name}: {done['failed']} POSTs to {path} failed")
    return (peer.cpu_seconds() - before) / done["requests"], done["requests"]


def available(binary):
    """Names of the peers that can run here, rsp first."""
    found = {"rsp": binary.is_file(), "nchan": peers.find("nginx") and NCHAN_MODULE.is_file(), "fanout": True}
    return peers.those_found(found)


def versions():
    found = []
    if NCHAN_MODULE.is_file() and shutil.which("dpkg-query"):
        found.append("nchan " + load.run(["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"]))
    if shutil.which("redis-server"):
        found.append("Redis " + re.search(r"v=(\S+)", load.run(["redis-server", "--version"]))[1])
    return found


def _command(name, port, folder, binary, options, statements):
    if name == "fanout":
        return [str(BUILD / "fanout"), str(port)]
    if name == "nchan":
        user = "user root;" if os.geteuid() == 0 else ""
        config = folder / "nginx.conf"
        config.write_text(NCHAN.format(port=port, dir=folder, user=user, module=NCHAN_MODULE))
        return [peers.find("nginx"), "-e", f"{folder}/error.log", "-p", str(folder), "-c", str(config)]
    config = folder / "site.lua"
    config.write_text(RSP.format(port=port, options=options, statements=statements))
    return [str(binary), str(config)]
