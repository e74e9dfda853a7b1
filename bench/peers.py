"""The proxies that are compared: their configs (equal work), their start, and what they cost by /proc's account."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
TICK = os.sysconf("SC_CLK_TCK")
PROXY_CORE, LOAD_CORE = "0", "1"

NGINX = """
daemon off; {user} worker_processes 1; worker_rlimit_nofile 20000; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 16000; }}
http {{
  access_log off; sendfile on; tcp_nopush on; server_tokens off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  keepalive_timeout 600s; keepalive_requests 1000000000;
  map $http_upgrade $upstream_connection {{ "" ""; default "upgrade"; }}
  upstream origin {{ {servers} keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location /static/ {{ alias {files}/; }}
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_max_temp_file_size 0;
      proxy_request_buffering off; client_max_body_size 0;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $upstream_connection;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header Via "1.1 nginx"; add_header Via "1.1 nginx";
    }}
  }}
}}
"""

# What every HAProxy here begins with.
HAPROXY_START = """
global
  maxconn 12000
  no strict-limits
  nbthread 1
  no log
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
"""

HAPROXY = HAPROXY_START + """\
frontend front
  bind 127.0.0.1:{port} backlog 4096
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Real-IP %[src]
  http-request set-header Via "1.1 haproxy"
  http-response set-header Via "1.1 haproxy"
  default_backend origin
backend origin
  http-reuse always
{servers}
"""

RSP = """
listen "127.0.0.1:{port}"
workers(1)
log {{ format = "none" }}
limits {{ idle_timeout = "10m" }}
site "*" {{
  ["/static/*"] = files "{files}",
  ["/*"] = proxy(upstream "origin" {{ {servers} }}),
}}
"""


class Process:
    """A running program in a folder of its own, ended by its own process id."""

    def __init__(self, command, folder, core=None, environment=None):
        if core is not None:
            command = ["taskset", "-c", core, *command]
        self.output = open(folder / "output.txt", "ab")
        environment = {**os.environ, **(environment or {})}
        self.child = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=self.output,
                                      stderr=self.output, env=environment)
        self.pid = self.child.pid
        self.folder = folder

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(3)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()
        self.output.close()

    def kill(self):
        self.child.kill()
        self.child.wait()
        self.output.close()

    def cpu_seconds(self):
        """User and system time of the whole process tree, ended children too."""
        return sum(ticks(pid) for pid in process_tree(self.pid)) / TICK

    def user_memory(self):
        """Private anonymous bytes of the whole process tree."""
        return sum(anonymous(pid) for pid in process_tree(self.pid))

    def said(self):
        return (self.folder / "output.txt").read_text(errors="replace")


class Server(Process):
    """A program that listens on `port`; `command_on` makes its command for a port."""

    def __init__(self, name, command_on, folder, core=PROXY_CORE):
        self.name = name
        for _ in range(5):
            self.port = free_port()
            super().__init__(command_on(self.port), folder, core)
            if wait_until_listening(self):
                return
            self.stop()
        raise RuntimeError(f"{name} did not start:\n{self.said()}")


class Peer(Server):
    """A proxy before `origins`."""

    def __init__(self, name, origins, folder, files, binary, core=PROXY_CORE):
        super().__init__(name, lambda port: _command(name, port, origins, folder, files, binary), folder, core)


class Rsp(Process):
    """rsp with a config of its own, and what loading it took."""

    def __init__(self, config, origin, sites, folder, binary):
        self.port = free_port()
        text = config.format(port=self.port, servers=f'"127.0.0.1:{origin}"', sites=sites)
        (folder / "site.lua").write_text(text)
        start = time.monotonic()
        super().__init__([str(binary), str(folder / "site.lua")], folder, PROXY_CORE)
        self.wait_until_said("Started.")
        self.loaded_seconds = time.monotonic() - start
        self.loaded_cpu = self.cpu_seconds()

    def wait_until_said(self, part, deadline=60):
        end = time.monotonic() + deadline
        while part not in self.said():
            if self.child.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"rsp never said {part!r}:\n{self.said()}")
            time.sleep(0.01)


class Origin(Process):
    """bench/origin, beside the load."""

    def __init__(self, folder, port=None, core=LOAD_CORE):
        self.port = port or free_port()
        super().__init__([str(BUILD / "origin"), str(self.port)], folder, core)
        if not wait_until_listening(self):
            sys.exit(f"the origin did not start:\n{self.said()}")


def available(binary):
    """Names of the peers that can run here, rsp first."""
    found = {"rsp": binary.is_file(), "nginx": find("nginx"), "haproxy": find("haproxy"), "floor": True}
    return those_found(found)


def those_found(found):
    for name in (name for name, there in found.items() if not there):
        print(f"{name} is missing: its column stays empty", file=sys.stderr)
    return [name for name, there in found.items() if there]


def build():
    """Compiles what is written in C where its source is newer; its first line may say with what."""
    BUILD.mkdir(exist_ok=True)
    headers = [header.stat().st_mtime for header in HERE.glob("*/*.h")]
    for source in HERE.glob("*/*.c"):
        made = BUILD / source.stem
        if not made.exists() or made.stat().st_mtime < max(source.stat().st_mtime, *headers):
            first = source.read_text().partition("\n")[0]
            more = first.removeprefix("// cc:").split() if first.startswith("// cc:") else []
            subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", str(made), str(source), *more], check=True)


def find(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_until_listening(process, deadline=10):
    end = time.monotonic() + deadline
    while time.monotonic() < end and process.child.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", process.port), 1).close()
            return True
        except OSError:
            time.sleep(0.02)
    return False


def process_tree(pid):
    found = [pid]
    for parent in found:
        try:
            tasks = os.listdir(f"/proc/{parent}/task")
            for task in tasks:
                found += map(int, Path(f"/proc/{parent}/task/{task}/children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def ticks(pid, ended=True):
    """Of a process; also of those children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # utime, stime, cutime, cstime (proc(5), fields 14 to 17)
    return sum(map(int, fields[11 : 15 if ended else 13]))


def anonymous(pid):
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


def _command(name, port, origins, folder, files, binary):
    if name == "floor":
        return [str(BUILD / "floor"), str(port), str(origins[0])]
    addresses = [f"127.0.0.1:{origin}" for origin in origins]
    user = "user root;" if os.geteuid() == 0 else ""
    values = {"port": port, "dir": folder, "files": files, "user": user}
    if name == "nginx":
        values["servers"] = " ".join(f"server {address};" for address in addresses)
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(**values))
        return [find("nginx"), "-e", f"{folder}/error.log", "-p", str(folder), "-c", str(config)]
    if name == "haproxy":
        values["servers"] = "\n".join(f"  server o{i} {address}" for i, address in enumerate(addresses))
        config = folder / "haproxy.cfg"
        config.write_text(HAPROXY.format(**values))
        return [find("haproxy"), "-db", "-f", str(config)]
    values["servers"] = ", ".join(f'"{address}"' for address in addresses)
    config = folder / "site.lua"
    config.write_text(RSP.format(**values))
    return [str(binary), str(config)]
