"""The HTTP side of WHIP and WHEP (RFC 9725): status codes, headers, refusals with a name."""

import asyncio
import json

import pytest
from aiortc import RTCPeerConnection

from players import AiortcPublisher


@pytest.fixture(scope="module")
def offer():
    async def make():
        pc = RTCPeerConnection()
        pc.addTransceiver("audio", direction="sendonly")
        pc.addTransceiver("video", direction="sendonly")
        await pc.setLocalDescription(await pc.createOffer())
        sdp = pc.localDescription.sdp
        await pc.close()
        return sdp.encode()

    return asyncio.run(make())


def code(body):
    return json.loads(body)["code"]


def test_without_a_token(server, offer):
    for token in (None, "", "x", "a.b.c", "\u00e9".encode().decode("latin-1")):
        status, _, body = server.request("POST", "/whip/r1", offer, token)
        assert (status, code(body)) == (401, "unauthenticated"), token


def test_token_of_another_room_or_role(server, offer):
    status, _, body = server.request("POST", "/whip/r1", offer, server.token("r2", "host", "h"))
    assert (status, code(body)) == (403, "forbidden")
    status, _, body = server.request("POST", "/whip/r1", offer, server.token("r1", "viewer", "v"))
    assert status in (403, 404), body


MALFORMED = {
    "word": b"x",
    "version only": b"v=0\r\n",
    "zeroes": b"\x00" * 100,
    "media lines only": b"m=video 9 RTP/AVP 96\r\n" * 100,
}


@pytest.mark.parametrize("sdp", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_sdp(server, sdp):
    token = server.token("r3", "host", "h")
    status, _, body = server.request("POST", "/whip/r3", sdp, token)
    assert (status, code(body)) == (400, "sdp_invalid")


def test_sdp_limits(server, offer):
    token = server.token("r4", "host", "h")
    status, _, _ = server.request("POST", "/whip/r4", b"v=0\r\n" + b"a" * 65536, token)
    assert status == 413
    many = offer + b"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" * 65
    status, _, body = server.request("POST", "/whip/r4", many, token)
    assert (status, code(body)) == (400, "sdp_invalid")


def test_other_content_types_and_methods(server, offer):
    token = server.token("r5", "host", "h")
    status, _, _ = server.request("POST", "/whip/r5", offer, token, content_type="text/plain")
    assert status == 415
    status, headers, _ = server.request("GET", "/whip/r5", token=token)
    assert status == 405 and "POST" in headers["Allow"]


def test_pages_elsewhere_may_use_it(server):
    status, headers, _ = server.request(
        "OPTIONS", "/whip/r6",
        Origin="https://elsewhere.example",
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization,content-type",
    )
    assert status in (200, 204)
    assert headers["Access-Control-Allow-Origin"] in ("*", "https://elsewhere.example")
    assert "authorization" in headers["Access-Control-Allow-Headers"].lower()
    status, headers, _ = server.request("POST", "/whip/r6", b"x", Origin="https://elsewhere.example")
    assert "location" in headers["Access-Control-Expose-Headers"].lower()


def test_session_life(server):
    room = "life"

    async def life():
        token = server.token(room, "host", "h")
        async with AiortcPublisher(server, room, token) as first:
            results["patch"] = await asyncio.to_thread(patches, first.location, token)
            offer = first.pc.localDescription.sdp.encode()
            other = server.token(room, "host", "somebody-else")
            results["second"] = await asyncio.to_thread(
                server.request, "POST", f"/whip/{room}", offer, other
            )
            location = first.location
        results["again"] = await asyncio.to_thread(
            server.request, "DELETE", location, b"", token
        )

    def patches(location, token):
        candidate = b"a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.9 9 typ host\r\n"
        kind = "application/trickle-ice-sdpfrag"
        request = server.request
        return [
            request("PATCH", location, candidate, token, kind)[0],
            request("PATCH", location, candidate, token, kind, If_Match='"no"')[0],
            request("PATCH", location, b"nonsense", token, kind, If_Match="*")[0],
            request("PATCH", location, candidate, token, "text/plain", If_Match="*")[0],
        ]

    results = {}
    asyncio.run(life())
    missing, stale, nonsense, other_type = results["patch"]
    assert (missing, stale, other_type) == (428, 412, 415)
    assert nonsense == 400
    status, _, body = results["second"]
    assert status in (403, 409), body
    assert results["again"][0] == 404
