"""A WHIP publisher on GStreamer's webrtcbin: gst_whip.py URL TOKEN vp8|h264. Ends at SIGTERM."""

import signal
import sys
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

URL, TOKEN, CODEC = sys.argv[1:4]
VIDEO = {
    "vp8": "vp8enc deadline=1 target-bitrate=800000 keyframe-max-dist=60 ! rtpvp8pay pt=96 ! "
           "application/x-rtp,media=video,encoding-name=VP8,payload=96",
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate=800 key-int-max=60 ! "
            "video/x-h264,profile=constrained-baseline ! rtph264pay pt=96 config-interval=-1 "
            "aggregate-mode=zero-latency ! application/x-rtp,media=video,encoding-name=H264,payload=96",
}[CODEC]

Gst.init(None)
loop = GLib.MainLoop()
pipeline = Gst.parse_launch(
    "webrtcbin name=peer bundle-policy=max-bundle "
    "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 ! queue ! "
    f"{VIDEO} ! peer. "
    "audiotestsrc is-live=true ! audioconvert ! audioresample ! queue ! opusenc ! "
    "rtpopuspay pt=97 ! application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! peer."
)
peer = pipeline.get_by_name("peer")
# The SDP inside a promise's reply is freed with it.
kept = []
session = None


def request(method, url, body=None):
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/sdp"}
    return urllib.request.urlopen(
        urllib.request.Request(url, data=body, method=method, headers=headers), timeout=10
    )


def on_gathered(*_):
    """WHIP has no trickle from here: the offer goes out once gathering is over."""
    global session
    if session or peer.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
        return
    offer = peer.get_property("local-description").sdp.as_text()
    with request("POST", URL, offer.encode()) as reply:
        session = urllib.parse.urljoin(URL, reply.headers["Location"])
        answer = reply.read().decode()
    print("201", session, flush=True)
    _, message = GstSdp.SDPMessage.new_from_text(answer)
    description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
    kept.append(description)
    peer.emit("set-remote-description", description, Gst.Promise.new())


def on_offer(promise, _):
    promise.wait()
    reply = promise.get_reply()
    offer = reply.get_value("offer")
    kept.extend([reply, offer])
    peer.emit("set-local-description", offer, Gst.Promise.new())


def on_negotiation_needed(_):
    peer.emit("create-offer", None, Gst.Promise.new_with_change_func(on_offer, None))


def on_term():
    if session:
        with request("DELETE", session) as reply:
            print("deleted", reply.status, flush=True)
    loop.quit()


def on_error(_, message):
    print("error", message.parse_error(), flush=True)
    loop.quit()


peer.connect("on-negotiation-needed", on_negotiation_needed)
peer.connect("notify::ice-gathering-state", on_gathered)
bus = pipeline.get_bus()
bus.add_signal_watch()
bus.connect("message::error", on_error)
GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGTERM, on_term)
pipeline.set_state(Gst.State.PLAYING)
loop.run()
pipeline.set_state(Gst.State.NULL)
