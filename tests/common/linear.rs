//! Whether a history of concurrent operations on one register is linearizable: whether each operation can be
//! given one moment between its call and its return so that all of them, in the order of these moments, make
//! sense.
//!
//! The search is that of Wing and Gong (1993) with Lowe's memory of what was tried (2017): operations that are
//! open are tried in turn, and a set of done operations with the state they led to is never tried twice. Those
//! of unknown outcome come last, and last of all those whose value nobody saw: most never happened.
//! Memory is bounded: a history that would need more is reported as undecided, which is no proof of anything.

use std::collections::HashSet;
use std::time::Duration;

/// What was done, with what came of it. Values are unique among all writes of a history; a register without a
/// value holds `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A write that was acknowledged, or whose outcome is not known.
    Put { value: u64, known: bool },
    /// A write if the register still held `expected`; `done` is unknown when no answer came.
    Cas {
        expected: Option<u64>,
        value: u64,
        done: Option<bool>,
    },
    /// A read that was answered.
    Get { value: Option<u64> },
}

/// One operation of a client.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Who.
    pub client: usize,
    /// When it was called.
    pub call: Duration,
    /// When it returned.
    pub end: Duration,
    /// What it was.
    pub op: Op,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Such an order exists.
    Linearizable,
    /// No such order exists; the operations that were open when the search got furthest.
    Broken(String),
    /// Not decided within the bound.
    Undecided,
}

/// States tried, at most.
const MAX_TRIED: usize = 2_000_000;

impl Op {
    /// The state after it, when it can happen in this one.
    fn after(&self, state: Option<u64>) -> Option<Option<u64>> {
        match *self {
            Op::Put { value, .. } => Some(Some(value)),
            Op::Get { value } => (value == state).then_some(state),
            Op::Cas {
                expected,
                value,
                done,
            } => match (expected == state, done) {
                (true, Some(true) | None) => Some(Some(value)),
                (false, Some(false) | None) => Some(state),
                _ => None,
            },
        }
    }

    /// Whether it must have happened.
    fn certain(&self) -> bool {
        match self {
            Op::Put { known, .. } => *known,
            Op::Cas { done, .. } => done.is_some(),
            Op::Get { .. } => true,
        }
    }
}

/// Whether the operations on one register, empty at first, are linearizable.
pub fn check(history: &[Operation]) -> Verdict {
    // What makes sense without those that nobody saw makes sense: they need not have happened.
    let seen = history.iter().filter(|o| rank(&o.op, history) < 2);
    match search(seen.cloned().collect()) {
        Verdict::Linearizable => Verdict::Linearizable,
        Verdict::Broken(_) | Verdict::Undecided => search(history.to_vec()),
    }
}

fn search(mut operations: Vec<Operation>) -> Verdict {
    operations.sort_by_key(|o| o.call);
    let rank = operations
        .iter()
        .map(|o| rank(&o.op, &operations))
        .collect();
    Search {
        rank,
        done: vec![0; operations.len().div_ceil(64)],
        left: operations.iter().filter(|o| o.op.certain()).count(),
        operations,
        first: 0,
        tried: HashSet::new(),
        best: (usize::MAX, String::new()),
    }
    .run()
}

/// How late an operation is to be tried.
fn rank(op: &Op, all: &[Operation]) -> u8 {
    let (Op::Put { value, .. } | Op::Cas { value, .. }) = *op else {
        return 0;
    };
    let seen = |o: &Operation| match o.op {
        Op::Get { value: seen } => seen == Some(value),
        Op::Cas { expected, .. } => expected == Some(value),
        Op::Put { .. } => false,
    };
    match (op.certain(), all.iter().any(seen)) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    }
}

/// Where the search for the next operation goes on: the rank, and the place among all.
type Place = (u8, usize);

struct Search {
    operations: Vec<Operation>,
    rank: Vec<u8>,
    /// One bit for each operation.
    done: Vec<u64>,
    /// Certain operations that are not done.
    left: usize,
    /// All before this one are done.
    first: usize,
    tried: HashSet<(Vec<u64>, Option<u64>)>,
    /// The fewest that were left, and what was open then.
    best: (usize, String),
}

/// An operation that was done, and what there was before it.
struct Step {
    operation: usize,
    state: Option<u64>,
    first: usize,
}

impl Search {
    fn is_done(&self, i: usize) -> bool {
        self.done[i / 64] >> (i % 64) & 1 == 1
    }

    fn flip(&mut self, i: usize) {
        self.done[i / 64] ^= 1 << (i % 64);
    }

    fn run(mut self) -> Verdict {
        let mut steps: Vec<Step> = Vec::new();
        let mut state = None;
        let mut from: Place = (0, self.first);
        loop {
            if self.left == 0 {
                return Verdict::Linearizable;
            }
            if let Some((i, after)) = self.next(from, state) {
                let first = self.first;
                self.flip(i);
                if !self.tried.insert((self.done.clone(), after)) {
                    self.flip(i);
                    from = (self.rank[i], i + 1);
                    continue;
                }
                if self.tried.len() > MAX_TRIED {
                    return Verdict::Undecided;
                }
                steps.push(Step {
                    operation: i,
                    state,
                    first,
                });
                self.left -= usize::from(self.operations[i].op.certain());
                while self.first < self.operations.len() && self.is_done(self.first) {
                    self.first += 1;
                }
                state = after;
                from = (0, self.first);
                continue;
            }
            self.note_best(state);
            let Some(step) = steps.pop() else {
                return Verdict::Broken(self.best.1);
            };
            self.flip(step.operation);
            self.left += usize::from(self.operations[step.operation].op.certain());
            self.first = step.first;
            state = step.state;
            from = (self.rank[step.operation], step.operation + 1);
        }
    }

    /// The next operation from `from` on that can be done now: it was called before any open one returned.
    fn next(&self, from: Place, state: Option<u64>) -> Option<(usize, Option<u64>)> {
        let deadline = self.deadline();
        for rank in from.0..3 {
            let start = if rank == from.0 { from.1 } else { self.first };
            for i in start..self.operations.len() {
                let operation = &self.operations[i];
                if operation.call > deadline {
                    break;
                }
                if self.rank[i] != rank || self.is_done(i) {
                    continue;
                }
                // Of unknown outcome, and without effect: as if it never happened.
                let idle = |after: &Option<u64>| rank > 0 && *after == state;
                if let Some(after) = operation.op.after(state).filter(|after| !idle(after)) {
                    return Some((i, after));
                }
            }
        }
        None
    }

    /// When the first of the open operations returned. Those of unknown outcome never did.
    fn deadline(&self) -> Duration {
        let mut first = Duration::MAX;
        for i in self.first..self.operations.len() {
            let operation = &self.operations[i];
            if operation.call > first {
                break;
            }
            if !self.is_done(i) && operation.op.certain() {
                first = first.min(operation.end);
            }
        }
        first
    }

    fn note_best(&mut self, state: Option<u64>) {
        if self.left >= self.best.0 {
            return;
        }
        let deadline = self.deadline();
        let open = (self.first..self.operations.len())
            .filter(|i| !self.is_done(*i) && self.operations[*i].call <= deadline)
            .map(|i| format!("\n  {:?}", self.operations[i]));
        let text = format!(
            "the register holds {state:?}, none of these fits:{}",
            open.collect::<String>()
        );
        self.best = (self.left, text);
    }
}

/// Histories whose verdict is known; every test program that uses the checker runs this first.
pub fn self_check() {
    let at = |client, call, end, op| Operation {
        client,
        call: Duration::from_millis(call),
        end: Duration::from_millis(end),
        op,
    };
    let put = |value| Op::Put { value, known: true };
    let get = |value| Op::Get { value };
    let cas = |expected, value, done| Op::Cas {
        expected,
        value,
        done,
    };
    let good = [
        vec![at(0, 0, 1, put(1)), at(1, 2, 3, get(Some(1)))],
        // A read beside a write may see it or not.
        vec![
            at(0, 0, 9, put(1)),
            at(1, 1, 2, get(None)),
            at(1, 3, 4, get(Some(1))),
        ],
        // Nobody knows whether this write happened: it did, late.
        vec![
            at(
                0,
                0,
                1,
                Op::Put {
                    value: 1,
                    known: false,
                },
            ),
            at(1, 2, 3, put(2)),
            at(1, 4, 5, get(Some(1))),
        ],
        // It never did.
        vec![
            at(0, 0, 1, cas(None, 1, None)),
            at(1, 2, 3, get(None)),
            at(1, 4, 5, put(2)),
            at(1, 6, 7, get(Some(2))),
        ],
        // Of two that wanted to be the first one was.
        vec![
            at(0, 0, 9, cas(None, 1, Some(true))),
            at(1, 0, 9, cas(None, 2, Some(false))),
            at(2, 10, 11, get(Some(1))),
        ],
    ];
    for history in &good {
        assert_eq!(check(history), Verdict::Linearizable, "{history:?}");
    }
    let bad = [
        // A write is lost.
        vec![at(0, 0, 1, put(1)), at(1, 2, 3, get(None))],
        // A read goes back in time.
        vec![
            at(0, 0, 9, put(1)),
            at(1, 1, 2, get(Some(1))),
            at(2, 3, 4, get(None)),
        ],
        // Two were the first.
        vec![
            at(0, 0, 9, cas(None, 1, Some(true))),
            at(1, 0, 9, cas(None, 2, Some(true))),
        ],
        // A value that nobody wrote.
        vec![at(0, 0, 1, put(1)), at(1, 2, 3, get(Some(7)))],
        // One of unknown outcome cannot have happened before it was called.
        vec![
            at(1, 0, 1, get(Some(1))),
            at(
                0,
                2,
                3,
                Op::Put {
                    value: 1,
                    known: false,
                },
            ),
        ],
        // It happened, and then it had not.
        vec![
            at(0, 0, 1, put(1)),
            at(0, 2, 3, cas(Some(1), 2, None)),
            at(1, 4, 5, get(Some(2))),
            at(1, 6, 7, get(Some(1))),
        ],
    ];
    for history in &bad {
        assert!(matches!(check(history), Verdict::Broken(_)), "{history:?}");
    }
    random_histories();
}

/// Histories made by a register that works, all linearizable; and the same with one read made wrong.
fn random_histories() {
    let mut rng = fastrand::Rng::with_seed(5);
    for round in 0..16 {
        let unknown = [1, 4][round % 2];
        let (mut state, mut history) = (None, Vec::new());
        for n in 0..60u64 {
            let moment = Duration::from_millis(10 * n + 100);
            let wide = |rng: &mut fastrand::Rng| Duration::from_millis(rng.u64(..60));
            let known = rng.u8(..10) >= unknown;
            let op = match rng.u8(..3) {
                0 => Op::Put { value: n, known },
                1 => {
                    let expected = if rng.bool() {
                        state
                    } else {
                        Some(rng.u64(..=n))
                    };
                    let done = known.then_some(expected == state);
                    Op::Cas {
                        expected,
                        value: n,
                        done,
                    }
                }
                _ => Op::Get { value: state },
            };
            // Some of unknown outcome happen, some never do.
            if known || rng.bool() {
                state = op.after(state).expect("it happens now");
            }
            history.push(Operation {
                client: 0,
                call: moment - wide(&mut rng),
                end: moment + wide(&mut rng),
                op,
            });
        }
        assert_eq!(check(&history), Verdict::Linearizable);
        // Few of unknown outcome: then it is decided that the register cannot be empty again.
        history.truncate(40);
        history.retain(|o| o.op.certain());
        history.push(Operation {
            client: 1,
            call: Duration::from_secs(10),
            end: Duration::from_secs(11),
            op: Op::Get { value: None },
        });
        assert!(matches!(check(&history), Verdict::Broken(_)));
    }
}
