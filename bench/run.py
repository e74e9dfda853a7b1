#!/usr/bin/env python3
"""Runs rsp, nginx and HAProxy side by side and writes one table into bench/README.md; see there for how to read it."""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import peers
import rows
import scenarios

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"


def main():
    arguments = parse_arguments()
    peers.build()
    with tempfile.TemporaryDirectory(prefix="rsp-bench-") as folder:
        if arguments.scenarios is not None:
            text, failed = scenarios.run(arguments, Path(folder))
            section = "scenarios"
        else:
            text, failed = measure(arguments, Path(folder)), False
            section = "table"
    text = f"{conditions(arguments)}\n\n{text}"
    print(text)
    if arguments.write:
        write(section, text)
    sys.exit(1 if failed else 0)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    names = [row.name for row in all_rows()]
    parser.add_argument("--rounds", type=int, default=3, help="rounds in turn; the figures are medians (3)")
    parser.add_argument("--seconds", type=int, default=3, help="of load for each peer, row and round (3)")
    parser.add_argument("--only", action="append", choices=names, help="only this row; may be repeated")
    parser.add_argument("--scenarios", nargs="*", metavar="NAME", choices=scenarios.NAMES,
                        help=f"run what must hold under load instead of the table: {', '.join(scenarios.NAMES)}")
    parser.add_argument("--quick", action="store_true", help="scenarios with small numbers, to try them out")
    target = os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target")
    parser.add_argument("--peer", default="rsp", choices=["rsp", "nginx", "haproxy"], help="whom the scenarios try (rsp)")
    parser.add_argument("--binary", type=Path, default=Path(target) / "release" / "rsp", help="another rsp")
    parser.add_argument("--no-write", dest="write", action="store_false", help="print only; leave README.md alone")
    arguments = parser.parse_args()
    arguments.binary = arguments.binary.resolve()
    return arguments


def all_rows():
    return [*rows.ROWS, rows.IdleRow()]


def measure(arguments, folder):
    """All rows; in each round the peers take turns, so that a slow minute of the machine strikes all."""
    files = folder / "files"
    files.mkdir()
    (files / "10k.txt").write_bytes(b"0123456789abcdef" * 640)
    chosen = [row for row in all_rows() if not arguments.only or row.name in arguments.only]
    with ExitStack() as stack:
        origin = start(stack, peers.Origin, subfolder(folder, "origin"))
        running = {}
        for name in peers.available(arguments.binary):
            place = subfolder(folder, name)
            running[name] = start(stack, peers.Peer, name, [origin.port], place, files, arguments.binary)
        return rows.as_markdown([(row, rounds_of(row, running, arguments)) for row in chosen])


def rounds_of(row, running, arguments):
    results = []
    # The memory of idle connections does not vary from round to round.
    count = 1 if row.name == "idle" else arguments.rounds
    for number in range(1, count + 1):
        results.append({})
        for name in (name for name in row.peers if name in running):
            results[-1][name] = row.measure(running[name], arguments.seconds)
        figures = ", ".join(f"{name} {result['cost']:.1f}" for name, result in results[-1].items())
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


def conditions(arguments):
    """When, where and with what, in one paragraph."""
    cpus = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    versions = [version([peers.find("nginx"), "-v"]), version([peers.find("haproxy"), "-v"])]
    how = "scenarios" if arguments.scenarios is not None else f"medians of {arguments.rounds} rounds of {arguments.seconds} s"
    today = datetime.date.today().isoformat()
    machine = f"{len(cpus)} × {cpus[0] if cpus else platform.machine()}, Linux {platform.release()}"
    return f"{today}; {machine}; {', '.join(filter(None, versions))}; {how}."


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
