"""What must hold of live channels: each scenario is a story that ends in figures and in whether they are good enough."""

import time

import live
from scenarios import KIB, MIB, peak_memory, small_pages

SUBSCRIBERS = 10_000


def rsp(stage, options="", statements=""):
    return stage.keep(live.Peer("rsp", stage.place(), stage.binary, options, statements))


def swarm(stage, *arguments):
    made = live.Swarm(*arguments)
    stage.stack.callback(made.close)
    return made


def publisher(stage, *arguments):
    made = live.Publisher(*arguments)
    stage.stack.callback(made.stop)
    return made


def pings(stage):
    """10,000 idle WebSockets that are pinged every 25 s: at most 1 % of a core"""
    count, seconds = (1_000, 30) if stage.quick else (SUBSCRIBERS, 55)
    proxy = rsp(stage)
    held = swarm(stage, proxy.port, "/c/idle", count, "ws")
    time.sleep(1)
    before = proxy.cpu_seconds()
    time.sleep(seconds)
    share = (proxy.cpu_seconds() - before) / seconds
    seen = held.stat()
    figure = f"{seen['pings']:,} pings in {seconds} s, {100 * share:.2f} % of a core, {seen['open']:,} are open"
    return figure, share <= 0.01 and seen["open"] == count and seen["pings"] >= (seconds // 25) * count * 0.99


def million_channels(stage):
    """1,000,000 channels that keep 10 messages of 128 bytes each: at most 1.2 KB each beyond the 1,280 bytes of data, and not one more than `limits.channels`"""
    count = 20_000 if stage.quick else 1_000_000
    proxy = rsp(stage, "history = 10", f"limits {{ channels = {count} }}")
    live.Publisher(proxy.port, "/c/warm", 100).wait()
    before = proxy.user_memory()
    # The one that is there already is one of them.
    done = live.Publisher(proxy.port, "/c/#", 10 * (count - 1), "-n", count - 1, "-w", 32).wait()
    each = (proxy.user_memory() - before) / count - 10 * live.SIZE
    beyond = live.Publisher(proxy.port, "/c/more-#", 10, "-n", 10).wait()
    figure = (f"{done['acknowledged']:,} messages taken at {done['acknowledged'] / done['seconds']:,.0f} a second, "
              f"{each:,.0f} bytes each beyond them; of 10 messages to 10 more channels {beyond['refused']} were refused")
    return figure, done["acknowledged"] == 10 * (count - 1) and each <= 1200 and beyond["refused"] == 10


def forgotten_channels(stage):
    """100,000 channels whose messages are kept for 2 s are gone 75 s after the last one, and their memory with them"""
    count = 10_000 if stage.quick else 100_000
    proxy = rsp(stage, 'history = 10, ttl = "2s"')
    live.Publisher(proxy.port, "/c/warm", 100).wait()
    with peak_memory(proxy) as peak:
        before = proxy.user_memory()
        live.Publisher(proxy.port, "/c/#", 10 * count, "-n", count, "-w", 32).wait()
    # They are remembered for a minute after that, so that who comes back in this time has missed nothing.
    time.sleep(75)
    left, channels = proxy.user_memory() - before, proxy.channels()
    figure = f"{peak[0] / MIB:.0f} MiB at most, {left / MIB:.1f} MiB at the end, with {channels} channels"
    return figure, left <= max(peak[0] / 10, MIB) and channels == 0


def storm(stage):
    """10,000 WebSockets (rsp.json) cut at once that come back at once, while 10 messages a second are published: within 10 s each has every message once, in order"""
    count, seconds = (1_000, 8) if stage.quick else (SUBSCRIBERS, 16)
    proxy = rsp(stage, "history = 1000")
    held = swarm(stage, proxy.port, "/c/one", count, "json")
    source = publisher(stage, proxy.port, "/c/one", 10 * seconds, "-r", 10)
    time.sleep(3)
    held.tell("cut")
    done = source.wait()
    total = done["acknowledged"]
    seen = held.settle(lambda seen: seen["lowest"][0] >= total)
    whole = seen["lowest"][0] == total == 10 * seconds and not seen["gaps"] and not seen["doubled"] and not seen["resets"]
    figure = (f"{seen['open']:,} are back after {seen['open_s']:.1f} s, up to date after {seen['live_s']:.1f} s; {total} messages, "
              f"{seen['gaps']} missing, {seen['doubled']} twice, {seen['refused']} refused, {seen['retries']} tried again")
    return figure, whole and seen["live"] == count and seen["live_s"] <= 10


def slow_consumer(stage):
    """One of 1,000 WebSockets stops reading under 50 messages of 4 KiB a second: it costs at most its queue of 1 MiB, and the p99 of the others stays"""
    seconds, rate, size = (15 if stage.quick else 30), 50, 4 * KIB
    with small_pages():
        proxy = rsp(stage)
    others = swarm(stage, proxy.port, "/c/one", 999, "ws", size)
    publish = lambda duration: live.Publisher(proxy.port, "/c/one", rate * duration, "-r", rate, "-s", size).wait()
    publish(2)
    others.tell("forget")
    publish(seconds // 2)
    before = others.stat()["p99_ms"]
    slow = swarm(stage, proxy.port, "/c/one", 1, "ws", size)
    slow.tell("stop 1")
    others.tell("forget")
    with peak_memory(proxy) as peak:
        publish(seconds)
    seen = others.settle(lambda seen: seen["messages"] >= 999 * rate * seconds)
    figure = (f"memory {peak[0] / KIB:+,.0f} KiB at most; p99 of the others {before:.1f} ms before, {seen['p99_ms']:.1f} ms during; "
              f"{seen['closed']} of them closed, {seen['gaps']} messages missing")
    good = seen["messages"] == 999 * rate * seconds and not seen["gaps"] and not seen["closed"]
    # An allocation is rounded up by a quarter at most; a queue that never filled up would show nothing. The times are those
    # of a client that looks once a millisecond.
    return figure, good and MIB // 2 <= peak[0] <= 1.25 * MIB + 64 * KIB and seen["p99_ms"] <= 1.1 * before + 1


def redis_outage(stage):
    """Two rsp on one Redis that is killed for 5 s, 4 publishers and 200 WebSockets (rsp.json) on each: each has all 20,000 messages once, each publisher's in order"""
    done, seen, outage, subscribers, total = over_redis(stage, forgetful=False)
    missing = subscribers * total - seen["messages"] + seen["doubled"]
    figure = f"{_told(done, seen, outage)}; {missing} missing, {seen['gaps']} out of their order, {seen['doubled']} twice"
    good = done["acknowledged"] == total and missing == 0 and not seen["gaps"] and not seen["doubled"] and not seen["resets"]
    return figure, good and not done["refused"] and not seen["closed"] and done["repeated"] > 0


def redis_forgets(stage):
    """The same with a Redis that comes back empty: every subscriber is told once, and has everything from then on"""
    done, seen, outage, subscribers, total = over_redis(stage, forgetful=True)
    figure = f"{_told(done, seen, outage)}; {seen['gaps']} lost with it, {seen['doubled']} twice"
    good = seen["told"] == seen["resets"] == subscribers and seen["behind"] == 0 and not seen["closed"]
    # Each publisher has one message under way, whose key is forgotten, too.
    return figure, good and done["acknowledged"] == total and not done["refused"] and seen["doubled"] <= 8 * subscribers


def over_redis(stage, forgetful):
    """Publishers and subscribers on two rsp while their Redis is killed and comes back."""
    each, holders, letters = (200, 20, "abcdefgh") if stage.quick else (1_250 if forgetful else 2_500, 200, "abcdefgh")
    redis = stage.keep(live.Redis(stage.place()))
    statement = f'broker {{ redis = "redis://127.0.0.1:{redis.port}/0" }}'
    proxies = [rsp(stage, "history = 2000", statement) for _ in range(2)]
    swarms = [swarm(stage, proxy.port, "/c/one", holders, "json") for proxy in proxies]
    # So many a second that two rsp on one core can deliver them to all.
    options = lambda letter: ("-r", 25, "-p", letter, "-k", f"of-{letter}")
    start = lambda number, letter: publisher(stage, proxies[number % 2].port, "/c/one", each, *options(letter))
    sources = [start(number, letter) for number, letter in enumerate(letters)]
    began, half = time.monotonic(), len(letters) * each * holders // 2
    while swarms[0].stat()["messages"] < half and time.monotonic() < began + 300:
        time.sleep(0.2)
    redis.kill()
    if forgetful:
        redis.forget()
    killed = time.monotonic()
    time.sleep(5)
    stage.keep(live.Redis(redis.folder, redis.port))
    outage = time.monotonic() - killed
    done = _sum([source.wait() for source in sources])
    enough = lambda seen: sum(seen["lowest"]) >= len(letters) * each
    seen = _sum([held.settle(enough, 15) for held in swarms])
    seen["behind"] = len(letters) * each - sum(seen["lowest"])
    return done, seen, outage, 2 * holders, len(letters) * each


def _told(done, seen, outage):
    return (f"away for {outage:.1f} s; {done['acknowledged']:,} messages acknowledged after {done['repeated']} repetitions; "
            f"{seen['told']} subscribers told of a reset, {seen['closed']} closed")


def _sum(parts):
    """Counts are added, lists compared element by element for the least of all."""
    join = lambda values: list(map(min, zip(*values))) if isinstance(values[0], list) else sum(values)
    return {key: join([part[key] for part in parts]) for key in parts[0]}


SCENARIOS = {story.__name__.replace("_", "-"): story
             for story in (pings, million_channels, forgotten_channels, storm, slow_consumer, redis_outage, redis_forgets)}
NAMES = list(SCENARIOS)
