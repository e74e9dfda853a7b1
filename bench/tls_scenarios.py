"""What must hold of HTTP/2 under load: each scenario is a story that ends in figures and in whether they are good enough."""

import time

import tls


def resets(stage):
    """A client that opens and resets streams as fast as it can for 10 s: others keep 80 % of their requests a second"""
    before, during, done = _resets(stage, stage.peer_name)
    figure = (f"{done['streams']:,} streams over {done['connections']:,} connections; {before:,.0f} requests a second before and after, "
              f"{during:,.0f} ({100 * during / before:.0f} %) during")
    beside = [_beside(stage, name) for name in ("nginx", "haproxy") if name != stage.peer_name and name in tls.available(stage.binary)]
    return f"{figure}; {', '.join(beside)}", during >= 0.8 * before


def _beside(stage, name):
    before, during, done = _resets(stage, name)
    return f"{name} keeps {100 * during / before:.0f} % beside {done['streams']:,} streams"


def _resets(stage, name):
    """Requests a second of others without the client that resets and with it, and what that one did."""
    around, seconds = (1, 2) if stage.quick else (4, 10)
    pem = tls.certificate(stage.place())
    origin = stage.origin()
    # Nobody is passed through here.
    proxy = stage.keep(tls.Peer(name, origin.port, origin.port, pem, stage.place(), stage.binary))
    others = lambda length: tls.h2load(proxy.port, tls.OPENED, "/small", length, 16, 16)["rate"]
    others(1)
    before = others(around)
    attack = tls.Resets(proxy.port, seconds + 1)
    time.sleep(0.5)
    during = others(seconds)
    done = attack.wait()
    if proxy.child.poll() is not None or not done["connections"]:
        raise RuntimeError(f"{name} was not attacked, or ended:\n{proxy.said()}")
    time.sleep(0.5)
    after = others(around)
    proxy.stop()
    return (before + after) / 2, during, done


SCENARIOS = {story.__name__.replace("_", "-"): story for story in (resets,)}
NAMES = list(SCENARIOS)
