//! One peer of a run: socket, transport, and what it does with media.

use std::time::Instant;

use crate::load::link::Link;
use crate::load::publisher::Publisher;
use crate::load::viewer::Viewer;
use crate::load::wire::Wire;
use crate::net::client::real_time_ns;

pub enum Media {
    Publisher(Box<Publisher>),
    Viewer(Box<Viewer>),
}

pub struct Peer {
    pub wire: Wire,
    pub link: Link,
    pub media: Media,
    pub failed: bool,
}

impl Peer {
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) -> anyhow::Result<()> {
        self.link.tick(now, out)?;
        if let (Some(keys), Media::Viewer(viewer)) = (&mut self.link.keys, &mut self.media) {
            out.extend(viewer.tick(now, &mut keys.seal)?);
        }
        Ok(())
    }

    pub fn publish(&mut self, now: Instant) -> anyhow::Result<()> {
        let (Some(keys), Media::Publisher(publisher)) = (&mut self.link.keys, &mut self.media)
        else {
            return Ok(());
        };
        let wire = &mut self.wire;
        publisher.tick(now, real_time_ns, &mut keys.seal, &mut |bytes| {
            wire.send(bytes);
        })
    }

    pub fn send(&mut self, out: &mut Vec<Vec<u8>>) {
        for datagram in out.drain(..) {
            self.wire.send(&datagram);
        }
    }
}
