//! Network coordinates: where in a made-up space this member is, so that distances are round-trip times.
//!
//! Holds true: coordinates stay finite whatever others send.
//! Source: Dabek et al., "Vivaldi" (2004); Ledlie, Gardner, Seltzer, "Network Coordinates in the Wild" (2007);
//! Lee et al., "On Suitability of Euclidean Embedding" (2006); `docs/reference/gossip.md` section 13.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Error;
use crate::sorted;
use crate::structs::Position;
use crate::wire::msgpack;

/// The version in front of a coordinate in an ack.
const PING_VERSION: u8 = 1;
const DIMENSIONS: usize = 8;
const ERROR_MAX: f64 = 1.5;
/// How fast the error estimate follows.
const CE: f64 = 0.25;
/// How fast the position follows.
const CC: f64 = 0.25;
const ADJUSTMENT_WINDOW: usize = 20;
const HEIGHT_MIN: f64 = 1e-5;
/// Samples of one member of which the median counts.
const LATENCY_FILTER: usize = 3;
/// How weak the pull towards the origin is.
const GRAVITY_RHO: f64 = 150.0;
const ZERO: f64 = 1e-6;
/// No round trip is longer.
const MAX_RTT: Duration = Duration::from_secs(10);

fn start() -> Position {
    Position {
        vec: Some(vec![0.0; DIMENSIONS]),
        error: ERROR_MAX,
        adjustment: 0.0,
        height: HEIGHT_MIN,
    }
}

fn vec(p: &Position) -> &[f64] {
    p.vec.as_deref().unwrap_or_default()
}

fn is_sound(p: &Position) -> bool {
    let finite = |x: &f64| x.is_finite();
    vec(p).len() == DIMENSIONS
        && vec(p).iter().all(finite)
        && [p.error, p.adjustment, p.height].iter().all(finite)
}

/// Distance without adjustments, in seconds.
fn raw_distance(a: &Position, b: &Position) -> f64 {
    let square: f64 = vec(a)
        .iter()
        .zip(vec(b))
        .map(|(x, y)| (x - y) * (x - y))
        .sum();
    square.sqrt() + a.height + b.height
}

/// Estimated round-trip time, in seconds.
pub fn distance(a: &Position, b: &Position) -> f64 {
    let raw = raw_distance(a, b);
    let adjusted = raw + a.adjustment + b.adjustment;
    let seconds = if adjusted > 0.0 { adjusted } else { raw };
    // A duration has whole nanoseconds.
    (seconds * 1e9).trunc() / 1e9
}

/// A coordinate as an ack carries it.
pub(super) fn encode(position: &Position) -> Vec<u8> {
    let mut out = vec![PING_VERSION];
    if msgpack::append(&mut out, position).is_err() {
        out.clear();
    }
    out
}

/// The coordinate in an ack.
pub(super) fn decode(payload: &[u8]) -> Result<Position, Error> {
    match payload.split_first() {
        Some((&PING_VERSION, body)) => Ok(msgpack::from_slice(body)?),
        _ => Err(Error::Malformed("Unsupported ping version")),
    }
}

/// This member's coordinate and what it is made of.
#[derive(Debug)]
pub(super) struct Coordinates {
    own: Position,
    origin: Position,
    adjustments: [f64; ADJUSTMENT_WINDOW],
    next_adjustment: usize,
    latencies: BTreeMap<String, VecDeque<f64>>,
    /// Where others were last.
    others: BTreeMap<String, Position>,
    /// How often the coordinate became unusable and began anew.
    pub resets: u64,
}

impl Default for Coordinates {
    fn default() -> Self {
        Self {
            own: start(),
            origin: start(),
            adjustments: [0.0; ADJUSTMENT_WINDOW],
            next_adjustment: 0,
            latencies: BTreeMap::new(),
            others: BTreeMap::new(),
            resets: 0,
        }
    }
}

impl Coordinates {
    pub fn own(&self) -> &Position {
        &self.own
    }

    pub fn of(&self, name: &str) -> Option<&Position> {
        self.others.get(name)
    }

    pub fn forget(&mut self, name: &str) {
        self.latencies.remove(name);
        self.others.remove(name);
    }

    /// A round trip to a member that says where it is.
    ///
    /// # Errors
    /// When either makes no sense; nothing has changed then.
    pub fn update(
        &mut self,
        name: &str,
        other: Position,
        rtt: Duration,
        rng: &mut fastrand::Rng,
    ) -> Result<(), Error> {
        if !is_sound(&other) {
            return Err(Error::Malformed("invalid coordinate"));
        }
        if rtt > MAX_RTT {
            return Err(Error::Malformed("round trip time not in valid range"));
        }
        let rtt = self.filtered(name, rtt.as_secs_f64());
        self.vivaldi(&other, rtt, rng);
        self.adjust(&other, rtt);
        self.gravity(rng);
        if !is_sound(&self.own) {
            self.own = start();
            self.resets += 1;
        }
        self.others.insert(name.to_owned(), other);
        Ok(())
    }

    /// The median of the last round trips.
    fn filtered(&mut self, name: &str, rtt: f64) -> f64 {
        let samples = self.latencies.entry(name.to_owned()).or_default();
        samples.push_back(rtt);
        if samples.len() > LATENCY_FILTER {
            samples.pop_front();
        }
        let mut sorted: Vec<f64> = samples.iter().copied().collect();
        sorted::sort_by(&mut sorted, f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(rtt)
    }

    fn vivaldi(&mut self, other: &Position, rtt: f64, rng: &mut fastrand::Rng) {
        let dist = distance(&self.own, other);
        let rtt = rtt.max(ZERO);
        let wrongness = (dist - rtt).abs() / rtt;
        let total = (self.own.error + other.error).max(ZERO);
        let weight = self.own.error / total;
        let error = CE * weight * wrongness + self.own.error * (1.0 - CE * weight);
        self.own.error = error.min(ERROR_MAX);
        push(&mut self.own, CC * weight * (rtt - dist), other, rng);
    }

    fn adjust(&mut self, other: &Position, rtt: f64) {
        let sample = rtt - raw_distance(&self.own, other);
        if let Some(slot) = self.adjustments.get_mut(self.next_adjustment) {
            *slot = sample;
        }
        self.next_adjustment = (self.next_adjustment + 1) % ADJUSTMENT_WINDOW;
        let sum: f64 = self.adjustments.iter().sum();
        self.own.adjustment = sum / (2 * ADJUSTMENT_WINDOW) as f64;
    }

    fn gravity(&mut self, rng: &mut fastrand::Rng) {
        let away = distance(&self.origin, &self.own) / GRAVITY_RHO;
        push(&mut self.own, -away * away, &self.origin, rng);
    }
}

/// Moves a position away from another one; towards it when the force is negative.
fn push(own: &mut Position, force: f64, other: &Position, rng: &mut fastrand::Rng) {
    let mut unit: Vec<f64> = vec(own)
        .iter()
        .zip(vec(other))
        .map(|(a, b)| a - b)
        .collect();
    let mut length = norm(&unit);
    if length <= ZERO {
        // On top of each other: any direction is as good.
        length = 0.0;
        unit = (0..DIMENSIONS).map(|_| rng.f64() - 0.5).collect();
    }
    let by = norm(&unit);
    if by > ZERO {
        unit.iter_mut().for_each(|x| *x /= by);
    } else {
        unit = vec![0.0; DIMENSIONS];
        unit[0] = 1.0;
    }
    if let Some(own) = &mut own.vec {
        own.iter_mut().zip(&unit).for_each(|(x, u)| *x += u * force);
    }
    if length > ZERO {
        let height = (own.height + other.height) * force / length + own.height;
        own.height = height.max(HEIGHT_MIN);
    }
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn two_members_find_their_distance() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut a, mut b) = (Coordinates::default(), Coordinates::default());
        for _ in 0..200 {
            a.update("b", b.own.clone(), ms(40), &mut rng).unwrap();
            b.update("a", a.own.clone(), ms(40), &mut rng).unwrap();
        }
        let found = distance(&a.own, &b.own);
        assert!((found - 0.040).abs() < 0.002, "{found}");
        assert!(a.own.error < 0.2);
        assert!(a.of("b").is_some() && a.of("c").is_none());
    }

    #[test]
    fn a_line_of_members_finds_its_shape() {
        let mut rng = fastrand::Rng::with_seed(2);
        let mut all: Vec<Coordinates> = (0..10).map(|_| Coordinates::default()).collect();
        let rtt = |a: usize, b: usize| ms(10 * a.abs_diff(b) as u64);
        for _ in 0..3000 {
            let (a, b) = (rng.usize(..10), rng.usize(..10));
            if a != b {
                let other = all[b].own.clone();
                all[a]
                    .update(&b.to_string(), other, rtt(a, b), &mut rng)
                    .unwrap();
            }
        }
        let mut worst: f64 = 0.0;
        for a in 0..10 {
            for b in 0..a {
                let wanted = rtt(a, b).as_secs_f64();
                let found = distance(&all[a].own, &all[b].own);
                worst = worst.max((found - wanted).abs() / wanted);
            }
        }
        assert!(worst < 0.3, "off by {worst}");
    }

    #[test]
    fn one_slow_round_trip_of_three_does_not_count() {
        let mut own = Coordinates::default();
        assert_eq!(own.filtered("a", 0.001), 0.001);
        own.filtered("a", 0.001);
        assert_eq!(own.filtered("a", 5.0), 0.001);
        own.forget("a");
        assert_eq!(own.filtered("a", 5.0), 5.0);
    }

    #[test]
    fn nonsense_is_refused_and_changes_nothing() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut own = Coordinates::default();
        let nan = Position {
            height: f64::NAN,
            ..start()
        };
        let flat = Position {
            vec: Some(vec![0.0; 3]),
            ..start()
        };
        assert!(own.update("a", nan, ms(1), &mut rng).is_err());
        assert!(own.update("a", flat, ms(1), &mut rng).is_err());
        assert!(own.update("a", start(), ms(10_001), &mut rng).is_err());
        assert_eq!(own.own, start());
        let far = Position {
            vec: Some(vec![1e300; DIMENSIONS]),
            ..start()
        };
        for _ in 0..50 {
            own.update("a", far.clone(), ms(1), &mut rng).unwrap();
            assert!(is_sound(&own.own));
        }
    }

    #[test]
    fn the_form_in_acks() {
        let own = Coordinates::default();
        assert_eq!(decode(&encode(own.own())).as_ref(), Ok(own.own()));
        assert!(decode(&[2, 0x80]).is_err());
        assert!(decode(&[]).is_err());
    }
}
