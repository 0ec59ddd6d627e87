//! The dependency descriptor (AOM "RTP Payload Format For AV1" 1.0, appendix A): which layers a packet's frame belongs to, and
//! whether a receiver may switch up with it. Only the first packet of a key frame has the templates; what comes later names
//! one of them, so a [`Reader`] remembers them.

use crate::rtp::bits::Bits;
use crate::rtp::codec::PictureSize;
use crate::rtp::error::RtpError;

/// Templates of a structure; template ids are counted modulo this.
const MAX_TEMPLATES: usize = 64;
/// Decode targets of a structure.
const MAX_TARGETS: usize = 32;
/// Bytes of the mandatory fields: a descriptor of no more than these has nothing else.
const MANDATORY: usize = 3;
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
    /// Of the lowest spatial layer's pictures.
    size: Option<PictureSize>,
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
        Ok(Some(Dependency { first, last, number, spatial, temporal, switch_up_to }))
    }

    /// How large the pictures of the lowest spatial layer are, if the newest templates came with that.
    #[must_use]
    pub fn lowest_size(&self) -> Option<PictureSize> {
        self.structure.as_ref().and_then(|structure| structure.size)
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
        let mut size = None;
        if bits.flag()? {
            // Less one each.
            size = PictureSize::new(bits.take(16)? + 1, bits.take(16)? + 1);
            let above = templates.last().map_or(0, |last| last.spatial);
            bits.take(32 * u32::from(above))?;
        }
        let layers = target_layers(&templates, targets)?;
        Ok(Self { first_id, targets, templates, layers, size })
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
