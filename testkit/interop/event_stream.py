"""An event stream by PyPI's `httpx-sse`, as its documentation reconnects: with the last id, after the time it was told."""

import json
import ssl
import sys
import time

import httpx
from httpx_sse import connect_sse


def tell(**event):
    print(json.dumps(event), flush=True)


start = json.loads(sys.argv[1])
url = start["url"]
verify = ssl.create_default_context(cafile=start["ca"]) if "ca" in start else True
last, pause = None, 0.1
# Proxies of the environment are none of this test's.
with httpx.Client(trust_env=False, verify=verify, timeout=httpx.Timeout(10, read=None)) as client:
    while True:
        fields = {"Last-Event-ID": last} if last else {}
        try:
            with connect_sse(client, "GET", url, headers=fields) as source:
                source.response.raise_for_status()
                tell(open=last)
                for event in source.iter_sse():
                    last = event.id or last
                    pause = event.retry / 1000 if event.retry else pause
                    tell(**{event.event: event.data, "id": event.id})
            tell(end="clean")
        except httpx.TransportError as error:
            tell(end=type(error).__name__)
        time.sleep(pause)
