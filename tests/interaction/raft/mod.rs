//! A Raft cluster moved by hand: each message, write and application happens when a command says so.
//!
//! | command | does |
//! |---|---|
//! | `servers N [nopv] [one]` | bootstraps s1 to sN; without pre-vote; one entry per request |
//! | `spare S` | starts an empty server |
//! | `tick S` | moves the clock to S's deadline, and ticks S |
//! | `wait MS`, `deadline S` | moves the clock; shows how long S could sleep |
//! | `sync S`, `apply S` | finishes S's writes; applies what S was handed |
//! | `deliver [A B]`, `drop [A B]` | every message under way, or those from A to B; senders notice a loss |
//! | `settle` | all of that until nothing is left; shows only what matters |
//! | `run MS` | settles and ticks whoever is due, for so long |
//! | `cut A B`, `heal` | both lose messages between A and B; no longer |
//! | `propose S TEXT...`, `read S`, `lease S` | one entry per word; a consistent read; a read by lease |
//! | `transfer S [TO]`, `conf S add-voter\|add-nonvoter\|demote\|remove ID` | as they say |
//! | `step-down S [disk]`, `resume S` | gives up leading; the disk works again |
//! | `crash S [keep]`, `start S` | loses unsynced writes, or keeps them |
//! | `compact S INDEX`, `snapshot S TO`, `installed S [failed]` | snapshots |
//! | `restore S INDEX`, `restored S` | a user's restore of an archive |
//! | `status [S]`, `log S` | how things stand |

mod cluster;
#[path = "../../sim/raft/disk.rs"]
mod disk;
mod show;

#[test]
fn raft_scenarios() {
    crate::run("tests/interaction/raft", || {
        Box::new(cluster::Cluster::default())
    });
}
