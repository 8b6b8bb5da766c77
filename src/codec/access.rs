//! A structure read out of a [`Value`], by its table.
//!
//! Holds true: a structure gets its fields in the order of the input, its embedded structures last, out
//! of the same map; what nobody took is an error where unknown fields are.
//! Leaves to others: which entry is which field (`fields`), single values (`decode`, `impls`).

use std::cell::Cell;

use super::decode::{Deserializer, Embedded, Origin};
use super::fields::{Entries, Layout, is_embedded, unknown};
use super::{Error, ReadFields};

/// A field that is in the input: its number, the name it was found by, and its entry.
type Step = (usize, &'static str, usize);

impl Deserializer<'_, '_> {
    /// Reads a structure by its table.
    ///
    /// # Errors
    /// When this is no map, a field is of another kind or, where that matters, unknown or missing.
    pub fn structure(
        &self,
        into: &mut dyn ReadFields,
        layout: &'static Layout,
    ) -> Result<(), Error> {
        let opaque = layout.name.is_empty() || layout.name == "?";
        let mut own = *self;
        if opaque {
            own.strict = self.rules.strict && layout.name.is_empty();
        }
        let result = own.fields(into, layout, opaque);
        result.map_err(|e| if opaque { e.sealed() } else { e })
    }

    fn fields(
        &self,
        into: &mut dyn ReadFields,
        layout: &'static Layout,
        opaque: bool,
    ) -> Result<(), Error> {
        let entries = self.entries(layout.rust)?;
        let strict = self.strict && self.rules.origin != Origin::Msgpack;
        // Flags are needed where structures share a map; without any, the plan alone knows it all.
        let shares = !layout.fixed && layout.fields.iter().any(|field| is_embedded(field.name));
        let own = self.embedded.is_none() && shares;
        let taken: Vec<Cell<bool>> = if own {
            vec![Cell::new(false); entries.len()]
        } else {
            Vec::new()
        };
        let flags = match self.embedded {
            Some(outer) => Some(outer.taken),
            None => own.then_some(&taken[..]),
        };
        let name = match self.embedded {
            Some(outer) => outer.name,
            None if opaque => "",
            None => layout.name,
        };
        let steps = plan(layout, entries, self.rules.origin, strict, flags)?;
        let mut child = self.child(self.value);
        for (at, found_as, entry) in &steps {
            let Some((_, value)) = entries.get(*entry) else {
                continue;
            };
            child.value = value;
            into.read_field(*at, &child)
                .map_err(|e| e.in_field(name, found_as))?;
        }
        if shares {
            child.value = self.value;
            child.embedded = Some(self.embedded.unwrap_or(Embedded {
                name,
                taken: &taken,
            }));
            for (at, field) in layout.fields.iter().enumerate() {
                if is_embedded(field.name) {
                    into.read_field(at, &child)?;
                }
            }
        }
        if layout.required {
            all_given(layout, &steps)?;
        }
        if own {
            nothing_left(entries, &taken, strict)?;
        }
        Ok(())
    }
}

/// Pairs fields with entries, in the order of the entries. `taken` marks the entries that found a field, here or in
/// the structure around this one.
///
/// # Errors
/// `json: unknown field "X"` in strict mode, when no embedded structure could still want it.
fn plan(
    layout: &'static Layout,
    entries: Entries<'_>,
    origin: Origin,
    strict: bool,
    taken: Option<&[Cell<bool>]>,
) -> Result<Vec<Step>, Error> {
    let mut steps: Vec<Step> = Vec::with_capacity(entries.len().min(layout.fields.len()));
    // One bit per field that has an entry already, the last one for all fields beyond.
    let mut seen = 0u64;
    for (entry, (key, _)) in entries.iter().enumerate() {
        let flag = taken.and_then(|t| t.get(entry));
        if flag.is_some_and(Cell::get) {
            continue;
        }
        // Whoever wrote this had the fields in the same order, more often than not.
        let guess = match origin {
            Origin::Msgpack => layout.order.get(entry).map_or(0, |at| usize::from(*at)),
            Origin::Json => steps.last().map_or(0, |step| step.0 + 1),
        };
        let key_bytes = key.as_bytes().unwrap_or_default();
        let Some((field, name)) = layout.find(key_bytes, origin, guess) else {
            if taken.is_none() {
                unknown(key, strict)?;
            }
            continue;
        };
        if let Some(flag) = flag {
            flag.set(true);
        }
        let bit = 1 << field.min(63);
        if seen & bit != 0 {
            steps.retain(|step| step.0 != field);
        }
        seen |= bit;
        steps.push((field, name, entry));
    }
    Ok(steps)
}

fn all_given(layout: &Layout, steps: &[Step]) -> Result<(), Error> {
    let given = |at: usize| steps.iter().any(|step| step.0 == at);
    let mut fields = layout.fields.iter().enumerate();
    match fields.find(|(at, field)| !is_embedded(field.name) && !given(*at)) {
        Some((_, field)) => Err(Error::Custom(format!("missing field `{}`", field.name))),
        None => Ok(()),
    }
}

fn nothing_left(entries: Entries<'_>, taken: &[Cell<bool>], strict: bool) -> Result<(), Error> {
    let mut left = entries.iter().zip(taken);
    left.try_for_each(|((key, _), taken)| match taken.get() {
        true => Ok(()),
        false => unknown(key, strict),
    })
}
