//! Domain names in wire form.
//!
//! Holds true: a [`Name`] is a sequence of labels of 1 to 63 bytes with the root at the end, 255 bytes at
//! most; letters keep their case, comparisons ignore it.
//! Source: RFC 1035 section 3.1, RFC 4343.

use std::fmt;
use std::sync::Arc;

/// Longest name in wire form, in bytes.
const MAX_NAME: usize = 255;
/// Longest label, in bytes.
const MAX_LABEL: usize = 63;

/// A domain name in wire form. Clones share it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// From text with dots between labels, with or without the last one; `None` when DNS cannot say it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut wire = Vec::with_capacity(text.len() + 2);
        let text = text.strip_suffix('.').unwrap_or(text);
        if !text.is_empty() {
            for label in text.split('.') {
                push_label(&mut wire, label.as_bytes())?;
            }
        }
        Self::finish(wire)
    }

    /// From labels.
    pub fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut wire = Vec::with_capacity(64);
        for label in labels {
            push_label(&mut wire, label)?;
        }
        Self::finish(wire)
    }

    fn finish(mut wire: Vec<u8>) -> Option<Self> {
        wire.push(0);
        (wire.len() <= MAX_NAME).then(|| Self(wire.into()))
    }

    /// The wire form, root label included.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels from left to right, without the root.
    pub fn labels(&self) -> Labels<'_> {
        Labels(&self.0)
    }

    /// This name under another one: `self.zone`.
    pub fn under(&self, zone: &Name) -> Option<Self> {
        let own = self.0.len().checked_sub(1)?;
        let mut wire = Vec::with_capacity(own + zone.0.len());
        wire.extend_from_slice(self.0.get(..own)?);
        wire.extend_from_slice(&zone.0);
        (wire.len() <= MAX_NAME).then(|| Self(wire.into()))
    }

    /// What stands left of `zone`, as wire labels without a root; `None` when the name is not inside.
    pub fn left_of<'a>(&'a self, zone: &Name) -> Option<Labels<'a>> {
        let cut = self.0.len().checked_sub(zone.0.len())?;
        let (left, right) = self.0.split_at_checked(cut)?;
        if !right.eq_ignore_ascii_case(&zone.0) {
            return None;
        }
        // The cut must fall between labels.
        let mut at = 0;
        while at < cut {
            at += 1 + usize::from(*left.get(at)?);
        }
        (at == cut).then_some(Labels(left))
    }

    /// The same name in lower case.
    pub fn to_lowercase(&self) -> Self {
        Self(self.0.to_ascii_lowercase().into())
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }
}

fn push_label(wire: &mut Vec<u8>, label: &[u8]) -> Option<()> {
    if label.is_empty() || label.len() > MAX_LABEL {
        return None;
    }
    wire.push(label.len() as u8);
    wire.extend_from_slice(label);
    Some(())
}

/// Labels in wire form; ends at the root or at the end of the bytes.
#[derive(Clone)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first()?;
        if *length == 0 {
            return None;
        }
        let (label, after) = rest.split_at_checked(usize::from(*length))?;
        self.0 = after;
        Some(label)
    }
}

/// Appends a label as master files write it: what could be taken for syntax is escaped.
pub fn push_presentation(out: &mut String, label: &[u8]) {
    for &b in label {
        match b {
            b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                out.push('\\');
                out.push(b as char);
            }
            0x21..=0x7e => out.push(b as char),
            _ => out.push_str(&format!("\\{b:03}")),
        }
    }
}

/// With the last dot, as logs show names.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(self.0.len());
        for label in self.labels() {
            push_presentation(&mut text, label);
            text.push('.');
        }
        f.write_str(if text.is_empty() { "." } else { &text })
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_cut_and_joined() {
        let zone = Name::parse("consul.").unwrap();
        let name = Name::parse("Web.Service.Consul").unwrap();
        let left: Vec<_> = name.left_of(&zone).unwrap().collect();
        assert_eq!(left, [b"Web".as_slice(), b"Service"]);
        assert_eq!(zone.left_of(&zone).unwrap().count(), 0);
        assert!(Name::parse("fooconsul").unwrap().left_of(&zone).is_none());
        assert!(Name::parse("x").unwrap().left_of(&zone).is_none());
        let joined = Name::parse("ns").unwrap().under(&zone).unwrap();
        assert_eq!(joined.to_string(), "ns.consul.");
        assert!(Name::parse("a..b").is_none());
        assert!(Name::parse(&"x".repeat(64)).is_none());
        assert!(Name::parse(&["x"; 128].join(".")).is_none());
        assert!(Name::parse("").unwrap().is_root());
        let odd = Name::from_labels([b"a.b c".as_slice(), b"\x07"].into_iter()).unwrap();
        assert_eq!(odd.to_string(), "a\\.b\\ c.\\007.");
    }
}
