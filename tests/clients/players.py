"""Publishers and players: aiortc in process, FFmpeg and GStreamer as their own processes."""

import asyncio
import math
import pathlib
import subprocess
import time

import aiohttp
import imageio_ffmpeg
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamError

HERE = pathlib.Path(__file__).parent
# GStreamer's Python binding comes from the system, not from our virtual environment.
SYSTEM_PYTHON = "/usr/bin/python3"


class Watched:
    """What a WHEP player received."""

    def __init__(self):
        self.frames = []          # arrival times
        self.size = None
        self.audio_energy = 0.0

    def largest_gap(self):
        return max((b - a for a, b in zip(self.frames, self.frames[1:])), default=math.inf)


async def whep(server, room, token, seconds, first_frame_within=10.0):
    """Watch seat 0 for `seconds` after the first frame, then leave by DELETE."""
    watched, pc = Watched(), RTCPeerConnection()
    first = asyncio.Event()

    @pc.on("track")
    def on_track(track):
        asyncio.ensure_future(drain(track, watched, first))

    pc.addTransceiver("audio", direction="recvonly")
    pc.addTransceiver("video", direction="recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        location, answer = await offer(http, f"{server.base}/whep/{room}", pc)
        await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        try:
            await asyncio.wait_for(first.wait(), first_frame_within)
            await asyncio.sleep(seconds)
        finally:
            async with http.delete(server.base + location) as reply:
                assert reply.status == 200
            await pc.close()
    return watched


async def drain(track, watched, first):
    try:
        while True:
            frame = await track.recv()
            if track.kind == "video":
                watched.frames.append(time.monotonic())
                watched.size = (frame.width, frame.height)
                first.set()
            else:
                samples = frame.to_ndarray().astype("float64")
                watched.audio_energy += float((samples**2).mean())
    except MediaStreamError:
        return


async def offer(http, url, pc):
    """(Location, answer) of a WHIP or WHEP POST."""
    headers = {"Content-Type": "application/sdp"}
    async with http.post(url, data=pc.localDescription.sdp, headers=headers) as reply:
        body = await reply.text()
        assert reply.status == 201, (reply.status, body)
        assert reply.headers["ETag"].startswith('"')
        return reply.headers["Location"], body


class AiortcPublisher:
    """aiortc as WHIP publisher of a test picture and a tone."""

    def __init__(self, server, room, token):
        self.server, self.room, self.token = server, room, token
        self.pc = RTCPeerConnection()

    async def __aenter__(self):
        picture = MediaPlayer("testsrc2=size=320x240:rate=30", format="lavfi")
        tone = MediaPlayer("sine=frequency=440:sample_rate=48000", format="lavfi")
        self.pc.addTransceiver(tone.audio, direction="sendonly")
        self.pc.addTransceiver(picture.video, direction="sendonly")
        await self.pc.setLocalDescription(await self.pc.createOffer())
        self.http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"})
        url = f"{self.server.base}/whip/{self.room}"
        self.location, answer = await offer(self.http, url, self.pc)
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        return self

    async def __aexit__(self, *_):
        async with self.http.delete(self.server.base + self.location) as reply:
            assert reply.status == 200
        await self.http.close()
        await self.pc.close()


def ffmpeg(server, room, token, log):
    """FFmpeg's whip muxer: H.264 and Opus, offers setup:passive, knows no PLI."""
    return subprocess.Popen(
        [
            imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "info", "-re",
            "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30",
            "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
            "-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast",
            "-tune", "zerolatency", "-g", "30", "-bf", "0", "-b:v", "800k", "-pix_fmt", "yuv420p",
            "-c:a", "libopus", "-ac", "2", "-ar", "48000",
            "-f", "whip", "-authorization", token, f"{server.base}/whip/{room}",
        ],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log,
    )


def gstreamer(server, room, token, codec, log):
    """GStreamer's webrtcbin: an RSA certificate, no loopback candidates, AES-CM."""
    script = str(HERE / "gst_whip.py")
    return subprocess.Popen(
        [SYSTEM_PYTHON, script, f"{server.base}/whip/{room}", token, codec],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log,
    )


def end(process):
    """SIGTERM, as a user's Ctrl-C would; the exit code belongs to the client."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
