"""A real server for the client tests: the release binary, free ports, its own data folder."""

import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("SERVER_BINARY", str(ROOT / "target" / "release" / "greenroom"))


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, folder):
        self.base = f"http://127.0.0.1:{free_port(socket.SOCK_STREAM)}"
        self.options = [
            "--http-bind", self.base.removeprefix("http://"),
            "--media-port", "0",
            "--data-dir", str(folder / "data"),
        ]
        self.log = open(folder / "server.log", "wb")
        self.process = subprocess.Popen([BINARY, *self.options], stdout=self.log, stderr=self.log)
        self.wait_ready()

    def wait_ready(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the server ended at start"
            try:
                with urllib.request.urlopen(self.base + "/readyz", timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server did not become ready")

    def token(self, room, role, sub):
        command = [BINARY, *self.options, "token", "--room", room, "--role", role, "--sub", sub]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def request(self, method, path, body=b"", token=None, content_type="application/sdp", **headers):
        """(status, headers, body) of one HTTP request."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if body:
            headers["Content-Type"] = content_type
        url = path if path.startswith("http") else self.base + path
        request = urllib.request.Request(url, data=body or None, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status, reply.headers, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def live_rooms(self):
        _, _, body = self.request("GET", "/v1/live")
        return {room["room"]: room for room in json.loads(body)["rooms"]}

    def drops(self):
        _, _, body = self.request("GET", "/metrics")
        lines = (line for line in body.splitlines() if line.startswith("greenroom_dropped_total"))
        return {line.split('"')[1]: float(line.split()[-1]) for line in lines}

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=20) == 0, "a planned stop exits with 0"
        self.log.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("greenroom"))
    yield server
    server.stop()


def wait_until(what, condition, seconds=15):
    """Poll a condition that has no event to wait for, such as another process's state."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")
