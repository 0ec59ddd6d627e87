//! The dependency descriptor (AOM "RTP Payload Format For AV1" 1.0, appendix A): which layers a packet's frame belongs to, and
//! whether a receiver may switch up with it. Only the first packet of a key frame has the templates; what comes later names
//! one of them, so a [`Reader`] remembers them.

use crate::rtp::bits::Bits;
use crate::rtp::codec::{PictureSize, PictureSizes};
use crate::rtp::error::RtpError;

/// Templates of a structure; template ids are counted modulo this.
const MAX_TEMPLATES: usize = 64;
/// Decode targets of a structure.
const MAX_TARGETS: usize = 32;
/// Bytes of the mandatory fields: a descriptor of no more than these has nothing else.
const MANDATORY: usize = 3;
/// Where the frame number is.
const NUMBER: std::ops::Range<usize> = 1..MANDATORY;
/// Temporal ids of a structure.
const MAX_TEMPORAL: u8 = 8;
/// Spatial ids of a structure.
const MAX_SPATIAL: u8 = 4;

/// What one packet says about its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependency {
    /// First packet of the frame.
    pub first: bool,
    /// Last packet of the frame.
    pub last: bool,
    /// Frame number, modulo 2^16.
    pub number: u16,
    /// Spatial layer, 0-3.
    pub spatial: u8,
    /// Temporal layer, 0-7.
    pub temporal: u8,
    /// Highest temporal layer of this spatial one that a receiver of this frame can go on with; at least its own.
    pub switch_up_to: u8,
    /// Spatial layers above its own, one bit each, with all of which a receiver of this frame can go on, in any temporal layer.
    pub opens: u8,
}

/// The frame number of a descriptor, modulo 2^16; `None` where it is cut short.
#[must_use]
pub fn frame_number(data: &[u8]) -> Option<u16> {
    data.get(NUMBER).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes)
}

/// Add `shift` to the frame number of a descriptor, modulo 2^16. Its references are distances between frames and stay true.
pub fn shift_frame_number(data: &mut [u8], shift: u16) {
    if let (Some(number), Some(place)) = (frame_number(data), data.get_mut(NUMBER)) {
        place.copy_from_slice(&number.wrapping_add(shift).to_be_bytes());
    }
}

/// How a frame stands to a decode target: 2 bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Indication(u8);

impl Indication {
    const ABSENT: Self = Self(0);
    const SWITCH: Self = Self(2);
}

#[derive(Debug, Clone, Copy)]
struct Template {
    spatial: u8,
    temporal: u8,
    indications: [Indication; MAX_TARGETS],
}

/// The templates of a key frame.
#[derive(Debug)]
struct Structure {
    first_id: u8,
    targets: usize,
    templates: Vec<Template>,
    /// (spatial, temporal): the highest layers that each decode target has.
    layers: [(u8, u8); MAX_TARGETS],
    /// Of each spatial layer's pictures.
    sizes: PictureSizes,
}

/// Reads the descriptors of one stream.
#[derive(Debug, Default)]
pub struct Reader {
    structure: Option<Box<Structure>>,
}

impl Reader {
    /// Read a packet's descriptor. `None` = its template is not known, because the packet with the templates was lost or has not
    /// come yet.
    ///
    /// # Errors
    /// `DependencyMalformed` when it is cut short, or its templates contradict each other.
    pub fn read(&mut self, data: &[u8]) -> Result<Option<Dependency>, RtpError> {
        let mut bits = Bits::new(data, RtpError::DependencyMalformed);
        let (first, last) = (bits.flag()?, bits.flag()?);
        let id = bits.take(6)? as u8;
        let number = bits.take(16)? as u16;
        let mut custom = Custom::default();
        if data.len() > MANDATORY {
            let structure = bits.flag()?;
            custom = Custom { active: bits.flag()?, indications: bits.flag()? };
            // Own references and chain distances come last: nothing is needed behind them.
            bits.take(2)?;
            if structure {
                self.structure = None;
                self.structure = Some(Box::new(Structure::read(&mut bits)?));
            }
        }
        let Some(structure) = &self.structure else { return Ok(None) };
        if custom.active {
            bits.take(structure.targets as u32)?;
        }
        let at = usize::from(id.wrapping_sub(structure.first_id)) % MAX_TEMPLATES;
        let Some(template) = structure.templates.get(at) else { return Ok(None) };
        let mut template = *template;
        if custom.indications {
            for of_target in template.indications.iter_mut().take(structure.targets) {
                *of_target = indication(&mut bits)?;
            }
        }
        let Template { spatial, temporal, .. } = template;
        let switch_up_to = structure.switch_up_to(&template);
        let opens = structure.opens(&template);
        Ok(Some(Dependency { first, last, number, spatial, temporal, switch_up_to, opens }))
    }

    /// How large the pictures of each spatial layer are, if the newest templates came with that.
    #[must_use]
    pub fn sizes(&self) -> Option<&PictureSizes> {
        let sizes = self.structure.as_ref().map(|structure| &structure.sizes);
        sizes.filter(|sizes| sizes[0].is_some())
    }
}

/// Which parts of a template a packet has for itself.
#[derive(Debug, Default)]
struct Custom {
    active: bool,
    indications: bool,
}

impl Structure {
    fn read(bits: &mut Bits<'_>) -> Result<Self, RtpError> {
        let first_id = bits.take(6)? as u8;
        let targets = bits.take(5)? as usize + 1;
        let mut templates = read_layers(bits)?;
        for template in &mut templates {
            for of_target in template.indications.iter_mut().take(targets) {
                *of_target = indication(bits)?;
            }
        }
        for _ in &templates {
            while bits.flag()? {
                bits.take(4)?;
            }
        }
        let chains = bits.below(targets as u32 + 1)? as usize;
        if chains > 0 {
            for _ in 0..targets {
                bits.below(chains as u32)?;
            }
            for _ in &templates {
                bits.take(4 * chains as u32)?;
            }
        }
        let mut sizes = PictureSizes::default();
        if bits.flag()? {
            let top = templates.last().map_or(0, |last| last.spatial);
            for size in sizes.iter_mut().take(usize::from(top) + 1) {
                // Less one each.
                *size = PictureSize::new(bits.take(16)? + 1, bits.take(16)? + 1);
            }
        }
        let layers = target_layers(&templates, targets)?;
        Ok(Self { first_id, targets, templates, layers, sizes })
    }

    fn switch_up_to(&self, template: &Template) -> u8 {
        let mut reached = template.temporal;
        for above in template.temporal + 1..MAX_TEMPORAL {
            let mut targets = self.layers.iter().zip(&template.indications).take(self.targets);
            let layer = (template.spatial, above);
            match targets.find(|(of, _)| **of == layer) {
                Some((_, indication)) if *indication == Indication::SWITCH => reached = above,
                _ => break,
            }
        }
        reached
    }

    fn opens(&self, template: &Template) -> u8 {
        let (mut present, mut closed) = (0, 0);
        for ((spatial, _), indication) in
            self.layers.iter().zip(&template.indications).take(self.targets)
        {
            let bit = 1 << spatial;
            present |= bit;
            closed |= if *indication == Indication::SWITCH { 0 } else { bit };
        }
        let above = u8::MAX << 1 << template.spatial;
        present & !closed & above
    }
}

/// The layers of each template: each is that of the one before, the next temporal or the next spatial one.
fn read_layers(bits: &mut Bits<'_>) -> Result<Vec<Template>, RtpError> {
    let mut templates = Vec::new();
    let (mut spatial, mut temporal) = (0, 0);
    loop {
        if templates.len() == MAX_TEMPLATES {
            return Err(RtpError::DependencyMalformed);
        }
        let indications = [Indication::ABSENT; MAX_TARGETS];
        templates.push(Template { spatial, temporal, indications });
        match bits.take(2)? {
            0 => {}
            1 => temporal += 1,
            2 => (spatial, temporal) = (spatial + 1, 0),
            _ => return Ok(templates),
        }
        if temporal >= MAX_TEMPORAL || spatial >= MAX_SPATIAL {
            return Err(RtpError::DependencyMalformed);
        }
    }
}

/// The highest layers of each decode target. One that no frame is for is a lie.
fn target_layers(
    templates: &[Template],
    targets: usize,
) -> Result<[(u8, u8); MAX_TARGETS], RtpError> {
    let mut layers = [(0, 0); MAX_TARGETS];
    for (target, layer) in layers.iter_mut().enumerate().take(targets) {
        let mut present = templates
            .iter()
            .filter(|template| template.indications.get(target) != Some(&Indication::ABSENT))
            .peekable();
        if present.peek().is_none() {
            return Err(RtpError::DependencyMalformed);
        }
        for template in present {
            *layer = (layer.0.max(template.spatial), layer.1.max(template.temporal));
        }
    }
    Ok(layers)
}

fn indication(bits: &mut Bits<'_>) -> Result<Indication, RtpError> {
    bits.take(2).map(|bits| Indication(bits as u8))
}

#[cfg(test)]
mod tests;
