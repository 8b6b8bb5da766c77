//! Sorting by network distance.
//!
//! Pure arithmetic on coordinates; where they come from is the caller's affair.
//! Source: Dabek et al., "Vivaldi: A Decentralized Network Coordinate System" (2004);
//! `docs/reference/http-1.md` section 6.

use std::collections::HashMap;

use crate::structs::Position;

/// Estimated round-trip time between two positions, in seconds; infinite when they cannot be compared.
pub fn distance(a: &Position, b: &Position) -> f64 {
    let (va, vb) = (
        a.vec.as_deref().unwrap_or(&[]),
        b.vec.as_deref().unwrap_or(&[]),
    );
    if va.len() != vb.len() {
        return f64::INFINITY;
    }
    let square: f64 = va.iter().zip(vb).map(|(x, y)| (x - y) * (x - y)).sum();
    let raw = square.sqrt() + a.height + b.height;
    let adjusted = raw + a.adjustment + b.adjustment;
    if adjusted > 0.0 { adjusted } else { raw }
}

/// Sorts `items` by the distance of their node from `source`, nearest first. Items keep their order among
/// equals; nodes without a coordinate come last. Without a source coordinate nothing changes.
pub fn sort_by_distance<T>(
    items: &mut [T],
    source: &str,
    coordinates: &HashMap<String, Position>,
    node: impl Fn(&T) -> &str,
) {
    let Some(from) = coordinates.get(&source.to_lowercase()) else {
        return;
    };
    items.sort_by_cached_key(|item| {
        let seconds = coordinates
            .get(&node(item).to_lowercase())
            .map_or(f64::INFINITY, |to| distance(from, to));
        // Distances are never negative, so their bits sort as they do.
        seconds.max(0.0).to_bits()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f64) -> Position {
        Position {
            vec: Some(vec![x, 0.0]),
            error: 1.5,
            adjustment: 0.0,
            height: 0.001,
        }
    }

    #[test]
    fn distance_adds_heights_and_adjustments() {
        assert!((distance(&at(0.0), &at(0.010)) - 0.012).abs() < 1e-12);
        let below = Position {
            adjustment: -1.0,
            ..at(0.0)
        };
        assert!(
            (distance(&below, &at(0.010)) - 0.012).abs() < 1e-12,
            "negative sums are ignored"
        );
        let other = Position {
            vec: Some(vec![0.0]),
            ..at(0.0)
        };
        assert_eq!(distance(&at(0.0), &other), f64::INFINITY);
    }

    #[test]
    fn unknown_nodes_come_last_and_unknown_source_changes_nothing() {
        let known = HashMap::from([
            ("a".to_owned(), at(0.0)),
            ("b".to_owned(), at(0.005)),
            ("c".to_owned(), at(0.001)),
        ]);
        let mut items = ["x", "B", "c", "a"];
        sort_by_distance(&mut items, "A", &known, |s| s);
        assert_eq!(items, ["a", "c", "B", "x"]);
        sort_by_distance(&mut items, "nobody", &known, |s| s);
        assert_eq!(items, ["a", "c", "B", "x"]);
    }
}
