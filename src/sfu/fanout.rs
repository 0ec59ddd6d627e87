//! From a finished slab to every viewer: stops 7 and 8 of a packet's way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use signaling::media::MediaKind;

use crate::rtp::rtcp::{FullIntraRequest, build};

use super::counters::Counters;
use super::drop_reason::DropReason;
use super::egress::Egress;
use super::key_frames::Ask;
use super::publication::Publication;
use super::relay::{ClockPair, RelayMessage};
use super::session::{Place, Role, Session};
use super::slab::{PublicationId, Slab, SlabRing};
use super::subscription::Subscription;
use super::{Sfu, publication_mut, session_mut};

/// Viewers below which a part of a frame is sent at the end of the receive turn instead of waiting
/// for the rest. Trade: with few viewers the delay saved is worth more than the longer GSO run.
const FEW_VIEWERS: usize = 16;

/// How long another shard's `Want` lasts; it is renewed every second.
pub(super) const WANT_LASTS: Duration = Duration::from_secs(3);

/// CNAME of everything we send: audio and video of one slot are told apart by their msid.
pub(super) const CNAME: &str = "greenroom";

impl Sfu {
    /// Send a slab to this shard's viewers and to the shards that want it.
    pub(super) fn fan_out(
        &mut self,
        now: Instant,
        at: u32,
        slab: &Arc<Slab>,
        egress: &mut Egress<'_>,
    ) {
        self.hear(now, at, slab, egress);
        self.relay(now, at, slab, RelayMessage::Slab);
        self.release_rider(now, at, egress);
        self.deliver_to_all(now, at, slab, egress);
    }

    /// Send the sound packet that waits, before a newer one.
    fn release_rider(&mut self, now: Instant, at: u32, egress: &mut Egress<'_>) {
        let publication = publication_mut(&mut self.publications, at);
        if let Some(before) = publication.and_then(|publication| publication.rider.take()) {
            self.deliver_to_all(now, at, &before, egress);
        }
    }

    /// Keep a sound packet until the video frame which is about to come, here and on other shards.
    pub(super) fn hold_rider(
        &mut self,
        now: Instant,
        at: u32,
        slab: &Arc<Slab>,
        egress: &mut Egress<'_>,
    ) {
        self.hear(now, at, slab, egress);
        self.relay(now, at, slab, RelayMessage::Rider);
        self.release_rider(now, at, egress);
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        publication.rider = Some(Arc::clone(slab));
        self.note_building(now, at);
    }

    fn relay(
        &mut self,
        now: Instant,
        at: u32,
        slab: &Arc<Slab>,
        message: fn(Arc<Slab>) -> RelayMessage,
    ) {
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        for shard in publication.wanting(now) {
            self.relays.push_back((shard, message(Arc::clone(slab))));
            self.counters.relayed_out += 1;
        }
    }

    /// The sound packet that waits for this slab's publisher to send video, and the slots of its
    /// viewers, to be put back.
    fn take_riders(&mut self, slab: &Slab) -> Option<Riders> {
        if slab.publication.kind != MediaKind::Video {
            return None;
        }
        let sound = PublicationId::track(slab.publication.transport, MediaKind::Audio);
        let at = *self.publication_ids.get(&sound)?;
        let publication = publication_mut(&mut self.publications, at)?;
        let slab = publication.rider.take()?;
        Some(Riders { at, slab, slots: std::mem::take(&mut publication.subscriptions) })
    }

    fn deliver_to_all(&mut self, now: Instant, at: u32, slab: &Arc<Slab>, egress: &mut Egress<'_>) {
        if slab.key_frame {
            self.admit_awaiting(now, at);
        }
        let mut riders = self.take_riders(slab);
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        let Publication { clock, ring, subscriptions: slots, .. } = publication;
        let mut waiting = false;
        // A full send buffer drops the rest of a frame's viewers: not the same ones each time.
        let first = slab.packets().first().map_or(0, |packet| packet.sequence as usize);
        let middle = first % slots.len().max(1);
        let (later, sooner) = slots.split_at_mut(middle);
        for subscription in sooner.iter_mut().chain(later) {
            let Some(session) = session_mut(&mut self.sessions, subscription.session) else {
                continue;
            };
            match deliver(now, subscription, session, (slab, ring), egress, &mut self.counters) {
                Ok(Sent::Later) => {
                    if let Some(downlink) = &mut session.downlink
                        && !std::mem::replace(&mut downlink.behind, true)
                    {
                        self.paced.push(subscription.session);
                    }
                }
                Ok(Sent::Now) => {
                    if let Some(riders) = &mut riders {
                        riders.ride(now, subscription, session, egress, &mut self.counters);
                    }
                    if subscription.take_report_due() {
                        let (id, scratch) = (slab.publication, &mut self.scratch);
                        report(now, id, *clock, subscription, session, scratch, egress);
                    }
                }
                Err(reason) => {
                    waiting |= reason == DropReason::AwaitKeyFrame;
                    self.counters.drop(reason);
                }
            }
        }
        let rider = riders.map(|Riders { at, slab, slots }| {
            if let Some(sound) = publication_mut(&mut self.publications, at) {
                sound.subscriptions = slots;
            }
            (at, slab)
        });
        if waiting {
            self.want_key_frame(now, at, egress);
        }
        while let Some(index) = self.paced.pop() {
            self.schedule_session(now, index);
        }
        if let Some((sound, slab)) = rider {
            // To those it did not fit with, and those who do not watch the video.
            self.deliver_to_all(now, sound, &slab, egress);
        }
    }

    /// Begin a slot with the publication's latest frames; `false` = it has to wait for a key frame.
    pub(super) fn replay(
        &mut self,
        now: Instant,
        index: u32,
        slot: usize,
        egress: &mut Egress<'_>,
    ) -> bool {
        let Some(session) = session_mut(&mut self.sessions, index) else { return false };
        let Role::Watch(watcher) = &session.role else { return false };
        let Some(Place::Attached { publication, position }) =
            watcher.slots.get(slot).map(|slot| &slot.place)
        else {
            return false;
        };
        let Some(publication) = publication_mut(&mut self.publications, *publication) else {
            return false;
        };
        let Publication { id, ring, clock, subscriptions, .. } = publication;
        let Some(subscription) = subscriptions.get_mut(*position as usize) else { return false };
        if session.rests(now) {
            return false;
        }
        let Some(mut link) = session.link() else { return false };
        let counters = &mut self.counters;
        if !subscription.replay(now, ring, &mut link, egress, counters) {
            return false;
        }
        counters.replays += 1;
        let behind = subscription.is_behind();
        if let Some(downlink) = &mut session.downlink {
            downlink.behind |= behind;
        }
        if subscription.take_report_due() {
            report(now, *id, *clock, subscription, session, &mut self.scratch, egress);
        }
        if behind {
            self.schedule_session(now, index);
        }
        true
    }

    /// Remember a part of a frame that waits for the rest, and wake for whatever is due.
    pub(super) fn note_building(&mut self, now: Instant, at: u32) {
        if self.flush_at(at).is_some() && !self.building.contains(&at) {
            self.building.push(at);
        }
        self.schedule_publication(now, at);
    }

    /// When what waits at a publication must be sent.
    pub(super) fn flush_at(&self, at: u32) -> Option<Instant> {
        self.publications.get(at as usize)?.as_ref()?.flush_at(self.config.hold)
    }

    /// Send what waits at a publication, if few viewers or its deadline say so.
    pub(super) fn flush_if_cheap(
        &mut self,
        now: Instant,
        at: u32,
        egress: &mut Egress<'_>,
    ) -> bool {
        let Some(publication) = publication_mut(&mut self.publications, at) else { return true };
        let Some(due) = publication.flush_at(self.config.hold) else { return true };
        if publication.subscriptions.len() >= FEW_VIEWERS && due > now {
            return false;
        }
        let intake = publication.intake.as_mut();
        match intake.and_then(|intake| intake.take_building(&mut publication.ring, now)) {
            Some(slab) => self.fan_out(now, at, &slab, egress),
            None => self.release_rider(now, at, egress),
        }
        true
    }

    /// A viewer needs a key frame of this publication.
    pub(super) fn want_key_frame(&mut self, now: Instant, at: u32, egress: &mut Egress<'_>) {
        self.counters.key_frames_wanted += 1;
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        match publication.key_frame.ask(now) {
            Ask::Now => self.ask_key_frame(at, egress),
            Ask::Later(_) => self.schedule_publication(now, at),
            Ask::Merged => self.counters.drop(DropReason::KeyFrameThrottled),
        }
    }

    /// Send a key-frame request towards the publisher.
    pub(super) fn ask_key_frame(&mut self, at: u32, egress: &mut Egress<'_>) {
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        let id = publication.id;
        let Some(intake) = &publication.intake else {
            self.relays.push_back((id.transport.shard(), RelayMessage::KeyFrame(id)));
            return;
        };
        let ssrc = intake.receiver.as_ref().map(|r| r.ssrc).or(intake.track.ssrc);
        let feedback = intake.track.feedback;
        let (Some(ssrc), Some(index)) = (ssrc, self.session_ids.get(&id.transport)) else { return };
        let Some(session) = session_mut(&mut self.sessions, *index) else { return };
        self.scratch.clear();
        build::receiver_report(&mut self.scratch, super::feedback::OUR_SSRC, &[]);
        if feedback.fir && !feedback.pli {
            let sequence = self.counters.key_frames_asked as u8;
            build::full_intra(
                &mut self.scratch,
                super::feedback::OUR_SSRC,
                &[FullIntraRequest { ssrc, sequence }],
            );
        } else {
            build::picture_loss(&mut self.scratch, super::feedback::OUR_SSRC, ssrc);
        }
        session.transport.send_rtcp(&self.scratch, egress);
        self.counters.key_frames_asked += 1;
    }

    /// Tell every viewer of a publication, here and on other shards, the publisher's clock.
    pub(super) fn spread_clock(
        &mut self,
        now: Instant,
        at: u32,
        clock: ClockPair,
        egress: &mut Egress<'_>,
    ) {
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        publication.clock = Some((clock, now));
        let id = publication.id;
        for shard in publication.wanting(now) {
            self.relays.push_back((shard, RelayMessage::Clock(id, clock)));
        }
        for subscription in &mut publication.subscriptions {
            if let Some(session) = session_mut(&mut self.sessions, subscription.session) {
                let clock = Some((clock, now));
                report(now, id, clock, subscription, session, &mut self.scratch, egress);
            }
        }
    }
}

/// A waiting sound packet and the slots of its viewers, out of their publication while the video's
/// viewers are gone through.
struct Riders {
    /// The sound's publication.
    at: u32,
    slab: Arc<Slab>,
    slots: Vec<Subscription>,
}

impl Riders {
    /// Behind the message a viewer of the video has just got.
    fn ride(
        &mut self,
        now: Instant,
        video: &mut Subscription,
        session: &mut Session,
        egress: &mut Egress<'_>,
        counters: &mut Counters,
    ) {
        let known = self.slots.get(video.rider as usize);
        if known.is_none_or(|slot| slot.session != video.session) {
            let Some(position) = position_in(session, self.at) else { return };
            video.rider = position;
        }
        let Some(slot) = self.slots.get_mut(video.rider as usize) else { return };
        if let Some(mut link) = session.link() {
            slot.ride(now, &self.slab, &mut link, egress, counters);
        }
    }
}

/// Where a session's slot is among a publication's subscriptions.
fn position_in(session: &Session, at: u32) -> Option<u32> {
    let Role::Watch(watcher) = &session.role else { return None };
    watcher.slots.iter().find_map(|slot| match slot.place {
        Place::Attached { publication, position } if publication == at => Some(position),
        _ => None,
    })
}

/// What became of a slab for one viewer.
enum Sent {
    Now,
    /// It waits in the ring until the viewer's pace allows it.
    Later,
}

fn deliver(
    now: Instant,
    subscription: &mut Subscription,
    session: &mut Session,
    (slab, ring): (&Slab, &SlabRing),
    egress: &mut Egress<'_>,
    counters: &mut Counters,
) -> Result<Sent, DropReason> {
    if !session.transport.may_send(now) {
        return Err(DropReason::NoConsent);
    }
    if subscription.is_behind() {
        return Ok(Sent::Later);
    }
    // Sound is small, and a gap in it is heard.
    let video = slab.publication.kind == MediaKind::Video;
    if video && !subscription.has_begun() && session.rests(now) {
        return Err(DropReason::PacedOut);
    }
    let mut link = session.link().ok_or(DropReason::NoKeys)?;
    if video && !link.may_send(now) {
        return subscription.fall_behind(now, slab, ring).map(|()| Sent::Later);
    }
    subscription.forward(now, slab, &mut link, egress, counters).map(|()| Sent::Now)
}

/// Send a sender report for one slot.
fn report(
    now: Instant,
    id: PublicationId,
    clock: Option<(ClockPair, Instant)>,
    subscription: &mut Subscription,
    session: &mut Session,
    scratch: &mut Vec<u8>,
    egress: &mut Egress<'_>,
) {
    let Some((clock, told)) = clock else { return };
    let age = now.saturating_duration_since(told);
    let Some(info) = subscription.sender_report(now, id, clock, age) else { return };
    scratch.clear();
    build::sender_report(scratch, &info, &[]);
    build::cname(scratch, info.ssrc, CNAME);
    session.transport.send_rtcp(scratch, egress);
}
