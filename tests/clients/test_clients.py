"""Media between clients nobody here wrote, through WHIP and WHEP."""

import asyncio
import signal

import pytest

from conftest import wait_until
from players import AiortcPublisher, end, ffmpeg, gstreamer, whep


def watch(server, room, seconds=5, within=10.0):
    token = server.token(room, "viewer", "viewer-1")
    return asyncio.run(whep(server, room, token, seconds, within))


def assert_picture_and_sound(watched, seconds=5):
    assert len(watched.frames) >= 20 * seconds, f"{len(watched.frames)} frames in {seconds} s"
    assert watched.largest_gap() < 1.0
    assert watched.audio_energy > 0


def test_ffmpeg_publishes(server, tmp_path):
    room = "ffmpeg"
    with open(tmp_path / "ffmpeg.log", "wb") as log:
        publisher = ffmpeg(server, room, server.token(room, "host", f"host-{room}"), log)
        try:
            wait_until("live", lambda: room in server.live_rooms())
            watched = watch(server, room)
            assert watched.size == (640, 360)
            assert_picture_and_sound(watched)
        finally:
            end(publisher)


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_gstreamer_publishes(server, tmp_path, codec):
    room = f"gst-{codec}"
    with open(tmp_path / "gst.log", "wb") as log:
        publisher = gstreamer(server, room, server.token(room, "host", f"host-{room}"), codec, log)
        try:
            wait_until("live", lambda: room in server.live_rooms())
            watched = watch(server, room)
            assert watched.size == (320, 240)
            assert_picture_and_sound(watched)
        finally:
            end(publisher)


def test_aiortc_publishes_and_watches(server):
    room = "aiortc"

    async def show():
        token = server.token(room, "host", f"host-{room}")
        async with AiortcPublisher(server, room, token):
            viewer = server.token(room, "viewer", "viewer-1")
            return await whep(server, room, viewer, 5)

    assert_picture_and_sound(asyncio.run(show()))


def test_viewer_who_waits_gets_the_picture_when_a_publisher_comes_back(server, tmp_path):
    room = "comeback"
    token = server.token(room, "host", f"host-{room}")
    with open(tmp_path / "ffmpeg.log", "wb") as log:
        first = ffmpeg(server, room, token, log)
        wait_until("live", lambda: room in server.live_rooms())
        # It vanishes without a goodbye, as a laptop that runs out of battery.
        first.send_signal(signal.SIGKILL)
        first.wait()
        wait_until("paused", lambda: server.live_rooms()[room]["paused"])

        async def wait_for_picture():
            viewer = server.token(room, "viewer", "viewer-1")
            watching = asyncio.create_task(whep(server, room, viewer, 3, 30.0))
            await asyncio.sleep(1)
            publisher = await asyncio.to_thread(ffmpeg, server, room, token, log)
            try:
                return await watching
            finally:
                await asyncio.to_thread(end, publisher)

        watched = asyncio.run(wait_for_picture())
        assert_picture_and_sound(watched, 3)
