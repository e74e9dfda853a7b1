"""TLS: the servers that are compared, the one behind them that has the key itself, and the clients of both."""

import json
import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

import load
import peers
from peers import BUILD, LOAD_CORE, PROXY_CORE

STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
OPENED, THROUGH = "opened.example.com", "through.example.com"
CIPHER, GROUP = "TLS_AES_128_GCM_SHA256", "X25519"

NGINX_START = """
load_module {module};
daemon off; {user} worker_processes 1; worker_rlimit_nofile 20000; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 16000; }}
"""

NGINX_HTTP = """
http {{
  access_log off; sendfile on; tcp_nopush on; server_tokens off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  keepalive_timeout 600s; keepalive_requests 1000000000;
  ssl_certificate {pem}; ssl_certificate_key {pem}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
"""

NGINX = NGINX_START + NGINX_HTTP + """
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} ssl http2 backlog=4096;
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_max_temp_file_size 0;
      proxy_request_buffering off; client_max_body_size 0;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header Via "1.1 nginx"; add_header Via "1.1 nginx";
    }}
  }}
}}
stream {{
  map $ssl_preread_server_name $behind {{ {through_name} 127.0.0.1:{behind}; }}
  server {{ listen 127.0.0.1:{through_port} backlog=4096; ssl_preread on; proxy_pass $behind; proxy_timeout 600s; }}
}}
"""

HAPROXY = peers.HAPROXY_START + """\
frontend front
  bind 127.0.0.1:{port} backlog 4096 ssl crt {pem} alpn h2,http/1.1
  option forwardfor
  http-request set-header X-Forwarded-Proto https
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Real-IP %[src]
  http-request set-header Via "1.1 haproxy"
  http-response set-header Via "1.1 haproxy"
  default_backend origin
backend origin
  http-reuse always
  server o 127.0.0.1:{origin}
frontend names
  mode tcp
  bind 127.0.0.1:{through_port} backlog 4096
{splice}
  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req.ssl_hello_type 1 }}
  use_backend through if {{ req.ssl_sni -i {through_name} }}
backend through
  mode tcp
{splice}
  server t 127.0.0.1:{behind}
"""

SPLICE = "  option splice-request\n  option splice-response"

RSP = """
listen {{ "127.0.0.1:{port}", tls = true }}
workers(1)
log {{ format = "none" }}
limits {{ idle_timeout = "10m" }}
site "{opened_name}" {{
  tls = {{ cert = "{pem}", key = "{pem}" }},
  ["/*"] = proxy(upstream "origin" {{ "127.0.0.1:{origin}", keepalive = 512 }}),
}}
site "{through_name}" {{ tls = passthrough(upstream "behind" {{ "127.0.0.1:{behind}" }}) }}
"""

BEHIND = NGINX_START + NGINX_HTTP + """
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096; root {dir}; default_type text/plain;
    location = /small {{ return 200 "abcdefghijklm"; }}
  }}
}}
"""


class Peer(peers.Server):
    """A proxy that opens connections for one name and passes those for another through; rsp does both on one port."""

    def __init__(self, name, origin, behind, pem, folder, binary):
        self.arguments, self.renewed = (origin, behind, pem, binary), 0

        def command_on(port):
            self.through_port = port if name == "rsp" else peers.free_port()
            return _command(name, port, self.through_port, origin, behind, pem, folder, binary)

        super().__init__(name, command_on, folder, PROXY_CORE)

    @contextmanager
    def afresh(self):
        """One of the same kind that has served nobody yet."""
        self.renewed += 1
        folder = self.folder / f"afresh{self.renewed}"
        folder.mkdir()
        origin, behind, pem, binary = self.arguments
        other = Peer(self.name, origin, behind, pem, folder, binary)
        try:
            yield other
        finally:
            other.stop()


class Behind(peers.Server):
    """nginx beside the load, with the key, and a body of 1 MiB at /1m."""

    def __init__(self, pem, folder):
        (folder / "1m").write_bytes(b"0123456789abcdef" * 65536)
        super().__init__("behind", lambda port: _nginx(BEHIND, folder, port=port, pem=pem), folder, LOAD_CORE)


def certificate(folder):
    """A PEM file of a self-signed certificate for an ECDSA key of P-256, and the key."""
    pem, key, cert = (folder / name for name in ("both.pem", "key.pem", "cert.pem"))
    load.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
              "-subj", f"/CN={OPENED}", "-addext", f"subjectAltName=DNS:{OPENED},DNS:{THROUGH}",
              "-keyout", str(key), "-out", str(cert)])
    pem.write_text(cert.read_text() + key.read_text())
    return pem


def h2load(port, name, path, seconds, clients, streams, http1=False):
    """Requests answered, and requests a second, over TLS 1.3 with the one cipher."""
    command = ["taskset", "-c", LOAD_CORE, "h2load", "-t1", f"-c{clients}", f"-m{streams}", f"-D{seconds}",
               f"--tls13-ciphers={CIPHER}", f"--groups={GROUP}", f"--connect-to=127.0.0.1:{port}", *(["--h1"] if http1 else [])]
    text = load.run([*command, f"https://{name}{path}"])
    for said in (f"Cipher: {CIPHER}", f"Server Temp Key: {GROUP}", f"Application protocol: {'http/1.1' if http1 else 'h2'}"):
        if said not in text:
            raise RuntimeError(f"h2load on {name} doesn't say {said!r}:\n{text}")
    failed = sum(map(int, re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", text).groups()))
    failed += sum(map(int, re.search(r"(\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text).groups()))
    if failed:
        raise RuntimeError(f"{failed} requests failed:\n{text}")
    return {"requests": int(re.search(r"(\d+) succeeded", text)[1]), "rate": float(re.search(r"([\d.]+) req/s", text)[1])}


class Clients:
    """handshakes.c with such arguments, ready; see there."""

    def __init__(self, port, name, *arguments):
        command = ["taskset", "-c", LOAD_CORE, str(BUILD / "handshakes"), str(port), name, *map(str, arguments)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.child.stdout.readline() != "ready\n":
            self.child.communicate()
            raise RuntimeError(f"{' '.join(command)} came to nothing")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.communicate()

    def go(self):
        """What they saw, at their end."""
        return json.loads(self.child.communicate("\n")[0])


class Resets:
    """resets.c for a while; see there."""

    def __init__(self, port, seconds):
        # It shares a core with origin and measured clients, who must not wait for it: SCHED_IDLE.
        command = ["taskset", "-c", LOAD_CORE, "chrt", "-i", "0", str(BUILD / "resets"), str(port), OPENED, str(seconds)]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def wait(self):
        said = self.child.communicate()[0]
        if self.child.returncode:
            raise RuntimeError("the client that resets did not run")
        return json.loads(said)


def available(binary):
    """Names of the peers that can run here, rsp first; `splice` is HAProxy told to splice."""
    haproxy = peers.find("haproxy")
    found = {"rsp": binary.is_file(), "nginx": peers.find("nginx") and STREAM_MODULE.is_file(), "haproxy": haproxy, "splice": haproxy}
    return peers.those_found(found)


def versions():
    """Which TLS the peers have, and what all of them agree on with the clients."""
    openssl = load.run(["openssl", "version"]).split()
    return [f"{openssl[0]} {openssl[1]}", f"TLS 1.3, {CIPHER}, {GROUP}, ECDSA P-256"]


def _command(name, port, through_port, origin, behind, pem, folder, binary):
    values = {"port": port, "through_port": through_port, "origin": origin, "behind": behind, "pem": pem,
              "opened_name": OPENED, "through_name": THROUGH}
    if name == "nginx":
        return _nginx(NGINX, folder, **values)
    if name in ("haproxy", "splice"):
        config = folder / "haproxy.cfg"
        config.write_text(HAPROXY.format(splice=SPLICE if name == "splice" else "", **values))
        return [peers.find("haproxy"), "-db", "-f", str(config)]
    config = folder / "site.lua"
    config.write_text(RSP.format(**values))
    return [str(binary), str(config)]


def _nginx(text, folder, **values):
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(text.format(dir=folder, user=user, module=STREAM_MODULE, **values))
    return [peers.find("nginx"), "-e", f"{folder}/error.log", "-p", str(folder), "-c", str(config)]
