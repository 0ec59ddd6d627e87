"""For scripts that measure: a release server of their own on free loopback ports."""

import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVER, LOAD = ROOT / "target/release/greenroom", ROOT / "target/release/examples/load"
START_PATIENCE_S = 15


def build():
    """Server and load client."""
    print("Building (the first time takes minutes)...", file=sys.stderr, flush=True)
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--bin", "greenroom", "--example", "load"]
    subprocess.run(command, cwd=ROOT, check=True)


def start(command, folder, ready):
    """A process in `folder` whose output goes to a file `log` there. When `ready(log text)` gives
    something: the process and that."""
    log = os.path.join(folder, "log")
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=folder)
    said = lambda: pathlib.Path(log).read_text(errors="replace")
    try:
        until = time.monotonic() + START_PATIENCE_S
        while time.monotonic() < until and process.poll() is None:
            found = ready(said())
            if found:
                return process, found
            time.sleep(0.05)
        sys.exit("the server did not start:\n" + said()[-3000:])
    except BaseException:
        process.kill()
        process.wait()
        raise


def start_server(folder, address="127.0.0.1", settings=()):
    """A server with its data in `folder`, media at `address`, and these settings: its process and its URL."""
    command = [SERVER, "--http-bind", "127.0.0.1:0", "--media-port", "0", "--data-dir", os.path.join(folder, "data")]
    # Joins are measured, so the room must let them in.
    for setting in (f"media.addresses={address}", "limits.joins_per_second=10000", *settings):
        command += ["--set", setting]
    process, found = start(command, folder, lambda log: re.search(r"Page +http://localhost:(\d+)", log))
    return process, f"http://127.0.0.1:{found[1]}"


def metrics(url):
    """What the server counts, as Prometheus reads it."""
    return urllib.request.urlopen(f"{url}/metrics", timeout=10).read().decode()


def token_command(folder):
    """What prints a token of that server, for `--token-command` of the load client."""
    return f"{SERVER} --data-dir {folder}/data token --room {{room}} --role {{role}} --sub {{sub}}"
