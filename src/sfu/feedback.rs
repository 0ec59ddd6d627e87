//! RTCP in both directions: reports and feedback to publishers, repairs and requests of viewers.

use std::time::Instant;

use signaling::media::{MediaEvent, MediaKind, TransportId};

use crate::rtp::rtcp::{Packet, ReportBlocks, build, packets};

use super::bandwidth::arrivals;
use super::drop_reason::DropReason;
use super::egress::{Egress, Path};
use super::publication::{ids, ids_of};
use super::publisher::REPORT_INTERVAL;
use super::relay::ClockPair;
use super::session::{OutSlot, Place, Role};
use super::slab::PublicationId;
use super::{Sfu, publication_mut, session_mut};

/// The SSRC of our RTCP; we have no stream of our own (RFC 8083 and libwebrtc use 1 as well).
pub(super) const OUR_SSRC: u32 = 1;

/// Bitrate told to publishers that understand REMB only.
const REMB_BPS: u64 = 4_000_000;

impl Sfu {
    pub(super) fn on_rtcp(
        &mut self,
        now: Instant,
        path: Path,
        index: u32,
        bytes: &mut [u8],
        egress: &mut Egress<'_>,
    ) -> Result<(), DropReason> {
        let session = session_mut(&mut self.sessions, index).ok_or(DropReason::UnknownTransport)?;
        let compound = session.transport.open_rtcp(now, path, bytes)?;
        let publishes = matches!(session.role, Role::Publish(_));
        let id = session.id;
        self.note_alive(index);
        for packet in packets(compound) {
            let packet = packet.map_err(|_| DropReason::RtcpMalformed)?;
            if publishes {
                self.on_publisher_report(now, id, &packet, egress);
            } else {
                self.on_viewer_feedback(now, index, &packet, egress);
            }
        }
        Ok(())
    }

    fn on_publisher_report(
        &mut self,
        now: Instant,
        id: TransportId,
        packet: &Packet<'_>,
        egress: &mut Egress<'_>,
    ) {
        let Packet::SenderReport(report) = packet else { return };
        for id in ids(id) {
            let Some(at) = self.publication_ids.get(&id).copied() else { continue };
            let receiver = publication_mut(&mut self.publications, at)
                .and_then(|p| p.intake.as_mut())
                .and_then(|intake| intake.receiver.as_mut())
                .filter(|receiver| receiver.ssrc == report.info.ssrc);
            if let Some(receiver) = receiver {
                receiver.note_sender_report(now, report.info.ntp);
                let clock = ClockPair { ntp: report.info.ntp, rtp: report.info.rtp_timestamp };
                self.spread_clock(now, at, clock, egress);
            }
        }
    }

    fn on_viewer_feedback(
        &mut self,
        now: Instant,
        index: u32,
        packet: &Packet<'_>,
        egress: &mut Egress<'_>,
    ) {
        match packet {
            Packet::ReceiverReport { reports, .. } => {
                self.on_receiver_report(now, index, *reports, egress);
            }
            Packet::Nack(nack) => self.on_nack(now, index, nack.media_ssrc, nack.lost(), egress),
            Packet::PictureLoss { media_ssrc, .. } => {
                self.on_key_frame_request(now, index, *media_ssrc, egress)
            }
            Packet::FullIntra(fir) => {
                for entry in fir.requests() {
                    self.on_key_frame_request(now, index, entry.ssrc, egress);
                }
            }
            Packet::TransportFeedback(feedback) => {
                let Some(downlink) = self.downlink_mut(index) else { return };
                let (outcome, changed) = downlink.on_feedback(now, feedback);
                for (reason, count) in outcome.drops() {
                    self.counters.drops(reason, count);
                }
                if changed {
                    self.allocate(now, index, egress);
                }
            }
            Packet::Remb(remb) => {
                let Some(downlink) = self.downlink_mut(index) else { return };
                if downlink.on_remb(now, remb.bitrate_bps) {
                    self.allocate(now, index, egress);
                }
            }
            _ => {}
        }
    }

    /// The video stream that lost most decides. Sound goes on whatever is lost.
    fn on_receiver_report(
        &mut self,
        now: Instant,
        index: u32,
        reports: ReportBlocks<'_>,
        egress: &mut Egress<'_>,
    ) {
        let mut worst = None;
        for block in reports {
            let Some((publication, position)) = self.attached(index, block.ssrc) else { continue };
            let Some(publication) = publication_mut(&mut self.publications, publication) else {
                continue;
            };
            let kind = publication.id.kind;
            let Some(subscription) = publication.subscriptions.get_mut(position) else { continue };
            let (last_sr, delay) = (block.last_sr, block.delay_since_last_sr);
            let rtt = subscription.note_receiver_report(now, last_sr, delay);
            if kind == MediaKind::Video {
                worst = worst.max(Some((block.fraction_lost, rtt)));
            }
        }
        let Some((lost, rtt)) = worst else { return };
        let Some(downlink) = self.downlink_mut(index) else { return };
        if downlink.on_receiver_report(now, lost, rtt) {
            self.allocate(now, index, egress);
        }
    }

    fn on_key_frame_request(
        &mut self,
        now: Instant,
        index: u32,
        ssrc: u32,
        egress: &mut Egress<'_>,
    ) {
        if let Some((publication, _)) = self.attached(index, ssrc) {
            self.want_key_frame(now, publication, egress);
        }
    }

    fn on_nack(
        &mut self,
        now: Instant,
        index: u32,
        ssrc: u32,
        sequences: impl Iterator<Item = u16>,
        egress: &mut Egress<'_>,
    ) {
        let Some(slot) = self.slot_of(index, ssrc) else { return };
        let Place::Attached { publication, position } = slot.place else { return };
        if slot.aim.is_some_and(|aim| aim.falls) {
            self.counters.drops(DropReason::NackOvertaken, sequences.count() as u32);
            return;
        }
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Some(publication) = publication_mut(&mut self.publications, publication) else {
            return;
        };
        let Some(mut link) = session.link() else { return };
        let ring = &publication.ring;
        let Some(subscription) = publication.subscriptions.get_mut(position as usize) else {
            return;
        };
        for sequence in sequences {
            let counters = &mut self.counters;
            if let Err(reason) =
                subscription.retransmit(now, sequence, ring, &mut link, egress, counters)
            {
                self.counters.drop(reason);
            }
        }
    }

    /// A viewer's slot with this SSRC.
    fn slot_of(&self, index: u32, ssrc: u32) -> Option<&OutSlot> {
        self.watcher(index)?.slots.iter().find(|slot| slot.track.ssrc == ssrc)
    }

    /// Where it is attached.
    fn attached(&self, index: u32, ssrc: u32) -> Option<(u32, usize)> {
        match self.slot_of(index, ssrc)?.place {
            Place::Attached { publication, position } => Some((publication, position as usize)),
            Place::Parked(_) => None,
        }
    }

    /// Reports and transport-wide feedback that a publisher is owed now.
    pub(super) fn send_feedback(&mut self, now: Instant, index: u32, egress: &mut Egress<'_>) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let id = session.id;
        let Role::Publish(publisher) = &mut session.role else { return };
        let scratch = &mut self.scratch;
        if publisher.feedback_at <= now {
            publisher.feedback_at = now + arrivals::INTERVAL;
            let media_ssrc = media_ssrc(&self.publications, &self.publication_ids, id);
            scratch.clear();
            if let Some(arrivals) = &mut publisher.arrivals
                && arrivals.write_feedback(OUR_SSRC, media_ssrc, scratch)
            {
                session.transport.send_rtcp(scratch, egress);
            }
        }
        let Role::Publish(publisher) = &mut session.role else { return };
        if publisher.report_at > now {
            return;
        }
        publisher.report_at = now + REPORT_INTERVAL;
        let remb = publisher.arrivals.is_none();
        self.send_receiver_report(now, index, id, remb, egress);
    }

    fn send_receiver_report(
        &mut self,
        now: Instant,
        index: u32,
        id: TransportId,
        remb: bool,
        egress: &mut Egress<'_>,
    ) {
        let mut blocks = Vec::new();
        let mut repairs_ms = 0;
        for id in ids(id) {
            let receiver = self
                .publication_ids
                .get(&id)
                .and_then(|at| publication_mut(&mut self.publications, *at))
                .and_then(|p| p.intake.as_mut())
                .and_then(|intake| intake.receiver.as_mut());
            let Some(receiver) = receiver else { continue };
            repairs_ms = repairs_ms.max(receiver.gaps.look());
            blocks.extend(receiver.report(now));
        }
        self.note_repairs(index, repairs_ms);
        if blocks.is_empty() {
            return;
        }
        self.scratch.clear();
        build::receiver_report(&mut self.scratch, OUR_SSRC, &blocks);
        if remb {
            let ssrcs: Vec<u32> = blocks.iter().map(|block| block.ssrc).collect();
            build::remb(&mut self.scratch, OUR_SSRC, REMB_BPS, &ssrcs);
        }
        if let Some(session) = session_mut(&mut self.sessions, index) {
            session.transport.send_rtcp(&self.scratch, egress);
        }
    }

    /// How late repaired packets of a publisher come: the room is told when that changes.
    fn note_repairs(&mut self, index: u32, ms: u16) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Role::Publish(publisher) = &mut session.role else { return };
        if std::mem::replace(&mut publisher.repairs_ms, ms) != ms {
            self.tell(index, MediaEvent::RepairsTake(ms));
        }
    }

    /// Media takes another path: what was lost with the old one is made good by a key frame. A viewer may be unable to
    /// ask for it: a browser reports by its old path until it gives that up. A publisher has forgotten what it
    /// sent a second ago, so asking for that would cost as long again.
    pub(super) fn picture_after_move(&mut self, now: Instant, index: u32, egress: &mut Egress<'_>) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        if !session.is_connected() {
            return;
        }
        let id = session.id;
        let Role::Watch(watcher) = &session.role else {
            let sent = ids_of(id, MediaKind::Video).filter_map(|id| self.publication_ids.get(&id));
            for at in sent.copied().collect::<Vec<_>>() {
                self.want_key_frame(now, at, egress);
            }
            return;
        };
        let shown: Vec<u32> = watcher
            .slots
            .iter()
            .filter(|slot| slot.track.kind == MediaKind::Video)
            .filter_map(|slot| match slot.place {
                Place::Attached { publication, .. } => Some(publication),
                Place::Parked(_) => None,
            })
            .collect();
        for at in shown {
            self.want_key_frame(now, at, egress);
        }
    }

    /// Ask a publisher again for what is missing; give up with a key-frame request.
    pub(super) fn send_nacks(&mut self, now: Instant, at: u32, egress: &mut Egress<'_>) {
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        let id = publication.id;
        let Some(receiver) = publication.intake.as_mut().and_then(|i| i.receiver.as_mut()) else {
            return;
        };
        let mut missing = Vec::new();
        let gave_up = receiver.gaps.due(now, &mut missing);
        let ssrc = receiver.ssrc;
        if !missing.is_empty()
            && let Some(index) = self.session_ids.get(&id.transport)
            && let Some(session) = session_mut(&mut self.sessions, *index)
        {
            self.counters.nacks_sent += missing.len() as u64;
            self.scratch.clear();
            build::receiver_report(&mut self.scratch, OUR_SSRC, &[]);
            build::nack(&mut self.scratch, OUR_SSRC, ssrc, missing.iter().copied());
            session.transport.send_rtcp(&self.scratch, egress);
        }
        if gave_up && id.kind == MediaKind::Video {
            self.want_key_frame(now, at, egress);
        }
    }
}

fn media_ssrc(
    publications: &[Option<super::Publication>],
    ids: &std::collections::HashMap<PublicationId, u32>,
    transport: TransportId,
) -> u32 {
    [MediaKind::Video, MediaKind::Audio]
        .into_iter()
        .flat_map(|kind| ids_of(transport, kind))
        .filter_map(|id| ids.get(&id))
        .filter_map(|at| publications.get(*at as usize)?.as_ref()?.intake.as_ref())
        .find_map(|intake| intake.receiver.as_ref().map(|r| r.ssrc))
        .unwrap_or(0)
}
