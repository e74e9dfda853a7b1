"""A WebSocket of PyPI's `websockets`. Starts with {"url", "protocols", "ca", "cert", "key"}; an order is a line of JSON on stdin.

The last three are paths, for a `wss:` URL: whose certificates are believed, and the client's own.
"""

import base64
import json
import ssl
import sys
import threading

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import connect


def tell(**event):
    # In one piece, as two threads tell.
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def listen(socket):
    try:
        while True:
            message = socket.recv()
            if isinstance(message, str):
                tell(text=message)
            else:
                tell(binary=base64.b64encode(message).decode())
    except ConnectionClosed as end:
        tell(close=end.rcvd and end.rcvd.code)


def obey(socket, order):
    if "text" in order:
        socket.send(order["text"])
    elif "binary" in order:
        socket.send(base64.b64decode(order["binary"]))
    elif "fragments" in order:
        socket.send(iter(order["fragments"]))
    elif "ping" in order:
        pong = socket.ping(order["ping"])
        tell(pong=pong.wait(10))
    elif "close" in order:
        socket.close(order["close"])


def trust(start):
    if "ca" not in start:
        return None
    context = ssl.create_default_context(cafile=start["ca"])
    if "cert" in start:
        context.load_cert_chain(start["cert"], start["key"])
    return context


start = json.loads(sys.argv[1])
try:
    with connect(start["url"], subprotocols=start.get("protocols"), ssl=trust(start), proxy=None) as socket:
        extensions = [extension.name for extension in socket.protocol.extensions]
        tell(open=socket.subprotocol, extensions=extensions)
        threading.Thread(target=listen, args=[socket], daemon=True).start()
        for line in sys.stdin:
            obey(socket, json.loads(line))
except InvalidStatus as refusal:
    tell(refused=refusal.response.status_code)
except (OSError, EOFError, InvalidHandshake, ConnectionClosed) as failure:
    tell(failed=f"{type(failure).__name__}: {failure}")
