#!/usr/bin/env python3
"""Runs rsp beside its peers and writes the tables of bench/README.md; see there for how to read them."""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import live
import live_rows
import live_scenarios
import peers
import program_rows
import programs
import rows
import scenarios
import tls
import tls_rows
import tls_scenarios

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
ROWS = {"proxy": rows, "live": live_rows, "programs": program_rows, "tls": tls_rows}
SCENARIOS = {"proxy": scenarios, "live": live_scenarios, "tls": tls_scenarios}


def main():
    arguments = parse_arguments()
    peers.build()
    failed = False
    for section, kind, stories in sections(arguments):
        with tempfile.TemporaryDirectory(prefix="rsp-bench-") as folder:
            text, some_failed = table(arguments, Path(folder), kind, stories)
        text = f"{conditions(arguments, kind, stories)}\n\n{text}"
        print(text, flush=True)
        if arguments.write:
            write(section, text)
        failed |= some_failed
    sys.exit(1 if failed else 0)


def sections(arguments):
    """What is run: (section of README.md, of which kind it is, whether it is of stories)."""
    every = [("table", "proxy", False), ("scenarios", "proxy", True), ("live", "live", False), ("live-scenarios", "live", True),
             ("programs", "programs", False), ("tls", "tls", False), ("tls-scenarios", "tls", True)]
    if arguments.all:
        return every
    stories = arguments.scenarios is not None
    # Channels and TLS have both kinds of table, and are asked for with one word.
    both = arguments.kind in ("live", "tls") and not arguments.only and not stories
    return [part for part in every if part[1] == arguments.kind and (both or part[2] == stories)]


def table(arguments, folder, kind, stories):
    """The text of a section, and whether something in it failed."""
    if stories:
        known = SCENARIOS[kind].SCENARIOS
        return scenarios.run(known, arguments.scenarios or list(known), arguments, folder)
    measured = {"proxy": measure, "live": measure_live, "programs": measure_programs, "tls": measure_tls}[kind]
    return measured(arguments, folder), False


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--live", dest="kind", action="store_const", const="live", default="proxy", help="the tables of live channels instead")
    parser.add_argument("--programs", dest="kind", action="store_const", const="programs", help="the table of programs instead")
    parser.add_argument("--tls", dest="kind", action="store_const", const="tls", help="the tables of TLS and HTTP/2 instead")
    parser.add_argument("--all", action="store_true", help="all tables, one after the other")
    parser.add_argument("--rounds", type=int, default=3, help="rounds in turn; the figures are medians (3)")
    parser.add_argument("--seconds", type=int, default=3, help="of load for each peer, row and round (3)")
    parser.add_argument("--only", action="append", metavar="ROW", help=f"only this row; may be repeated: {_names(rows)}; "
                        f"with --live {_names(live_rows)}; with --programs {_names(program_rows)}; with --tls {_names(tls_rows)}")
    parser.add_argument("--scenarios", nargs="*", metavar="NAME", help=f"only what must hold under load: {_names(scenarios)}; "
                        f"with --live {_names(live_scenarios)}; with --tls {_names(tls_scenarios)}")
    parser.add_argument("--quick", action="store_true", help="scenarios with small numbers, to try them out")
    target = os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target")
    parser.add_argument("--peer", default="rsp", choices=["rsp", "nginx", "haproxy"], help="whom the scenarios try (rsp)")
    parser.add_argument("--binary", type=Path, default=Path(target) / "release" / "rsp", help="another rsp")
    parser.add_argument("--no-write", dest="write", action="store_false", help="print only; leave README.md alone")
    arguments = parser.parse_args()
    arguments.binary = arguments.binary.resolve()
    if arguments.all and (arguments.kind != "proxy" or arguments.only or arguments.scenarios is not None):
        parser.error("--all is all tables whole")
    if arguments.kind not in SCENARIOS and arguments.scenarios is not None:
        parser.error(f"--{arguments.kind} has no scenarios")
    for asked, modules in ((arguments.only, ROWS), (arguments.scenarios, SCENARIOS)):
        for name in asked or ():
            if name not in modules[arguments.kind].NAMES:
                parser.error(f"{name} is none of {_names(modules[arguments.kind])}")
    return arguments


def _names(module):
    return ", ".join(module.NAMES)


def measure(arguments, folder):
    """All rows; in each round the peers take turns, so that a slow minute of the machine strikes all."""
    files = folder / "files"
    files.mkdir()
    (files / "10k.txt").write_bytes(b"0123456789abcdef" * 640)
    with ExitStack() as stack:
        origin = start(stack, peers.Origin, subfolder(folder, "origin"))
        running = {}
        for name in peers.available(arguments.binary):
            place = subfolder(folder, name)
            running[name] = start(stack, peers.Peer, name, [origin.port], place, files, arguments.binary)
        return rows.as_markdown(results(rows.ROWS, running, arguments))


def measure_live(arguments, folder):
    """The rows of live channels, in the same way."""
    with ExitStack() as stack:
        running = {}
        for name in live.available(arguments.binary):
            running[name] = start(stack, live.Peer, name, subfolder(folder, name), arguments.binary)
        return live_rows.as_markdown(results(live_rows.ROWS, running, arguments))


def measure_programs(arguments, folder):
    """The rows of programs, in the same way."""
    with ExitStack() as stack:
        running = {}
        for name in programs.available(arguments.binary):
            running[name] = start(stack, programs.Peer, name, subfolder(folder, name), arguments.binary)
        return program_rows.as_markdown(results(program_rows.ROWS, running, arguments))


def measure_tls(arguments, folder):
    """The rows of TLS and HTTP/2, in the same way."""
    with ExitStack() as stack:
        pem = tls.certificate(folder)
        origin = start(stack, peers.Origin, subfolder(folder, "origin"))
        behind = start(stack, tls.Behind, pem, subfolder(folder, "behind"))
        running = {}
        for name in tls.available(arguments.binary):
            place = subfolder(folder, name)
            running[name] = start(stack, tls.Peer, name, origin.port, behind.port, pem, place, arguments.binary)
        return tls_rows.as_markdown(results(tls_rows.ROWS, running, arguments))


def results(of, running, arguments):
    chosen = [row for row in of if not arguments.only or row.name in arguments.only]
    return [(row, rounds_of(row, running, arguments)) for row in chosen]


def rounds_of(row, running, arguments):
    results = []
    count = 1 if row.once else arguments.rounds
    for number in range(1, count + 1):
        results.append({})
        for name in (name for name in row.peers if name in running):
            results[-1][name] = row.measure(running[name], arguments.seconds)
        figures = ", ".join(f"{name} {rows.in_words(figures)}" for name, figures in results[-1].items())
        print(f"{row.name} {number}/{count}: {figures}", file=sys.stderr, flush=True)
    return results


def start(stack, kind, *arguments):
    process = kind(*arguments)
    stack.callback(process.stop)
    return process


def subfolder(folder, name):
    made = folder / name
    made.mkdir()
    return made


def conditions(arguments, kind, stories):
    """When, where and with what, in one paragraph."""
    cpus = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    versions = {"proxy": proxy_versions, "live": live_versions, "programs": programs.versions,
                "tls": tls_versions}[kind]()
    how = "scenarios" if stories else f"medians of {arguments.rounds} rounds of {arguments.seconds} s"
    today = datetime.date.today().isoformat()
    machine = f"{len(cpus)} × {cpus[0] if cpus else platform.machine()}, Linux {platform.release()}"
    return f"{today}; {machine}; {', '.join(filter(None, versions))}; {how}."


def proxy_versions():
    return [version([peers.find("nginx"), "-v"]), version([peers.find("haproxy"), "-v"])]


def tls_versions():
    return [*proxy_versions(), *tls.versions()]


def live_versions():
    return [version([peers.find("nginx"), "-v"]), *live.versions()]


def version(command):
    if not command[0]:
        return None
    done = subprocess.run(command, capture_output=True, text=True)
    first = (done.stdout + done.stderr).splitlines()[0]
    return first.replace("nginx version: ", "").split(" 20")[0].replace(" version", "")


def write(section, text):
    """Replaces what stands between the section's markers."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    before, rest = README.read_text().split(begin)
    _, after = rest.split(end)
    README.write_text(f"{before}{begin}\n{text}\n{end}{after}")


if __name__ == "__main__":
    main()
