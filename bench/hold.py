"""hold.py PORT PATH COUNT: opens COUNT connections, makes one request on each, says "ready", holds them until told."""

import resource
import socket
import sys

IP_BIND_ADDRESS_NO_PORT = 24  # of linux/in.h, not named by Python 3.11


def main(port, path, count):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    held = []
    for number in range(count):
        # Another source address each 10,000, so that ports never run out; the port is chosen when connecting, so that
        # none of them is taken from a listener while it lingers in TIME_WAIT.
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.1.{1 + number // 10_000}", 0))
        sock.settimeout(20)
        sock.connect(("127.0.0.1", port))
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        answer = sock.recv(4096)
        if not answer.startswith(b"HTTP/1.1 200 "):
            sys.exit(f"after {number} connections: {answer!r}")
        while not answer.endswith(b"\r\n\r\nabcdefghijklm"):
            more = sock.recv(4096)
            if not more:
                sys.exit(f"closed after {number} connections: {answer!r}")
            answer += more
        held.append(sock)
    print("ready", flush=True)
    sys.stdin.readline()


main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
