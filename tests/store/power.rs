//! The power goes at every single sync of a scripted life: whatever was acknowledged is there afterwards.

use std::path::Path;

use consul_lite::store::StoreError;

use crate::disk::{Disk, Plan};
use crate::script::{Open, Run, Step, open, script};

/// A function of the store, called once.
fn once(
    o: &mut Open,
    call: &mut dyn FnMut(&mut Open) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    call(o)
}

/// Lives until the disk fails or the script ends.
fn live(run: &mut Run, dir: &Path, steps: &[Step]) -> Result<(), StoreError> {
    let mut o = open(dir)?;
    for step in steps {
        run.step(&mut o, step, once)?;
    }
    Ok(())
}

/// Cuts the power at every sync in turn, twice: once nothing unsynced survives, once some of it does.
fn cut_everywhere(seed: u64, steps: &[Step], value_bytes: usize) -> u64 {
    for sync in 1.. {
        for survivors in [None, Some(seed ^ sync)] {
            let disk = Disk::new();
            disk.plan(Plan::PowerCut { sync, survivors });
            let mut run = Run::new(seed, value_bytes);
            let ended = live(&mut run, disk.path(), steps);
            let whole = !disk.is_off();
            // A checkpoint that fails after its commit is no error of the commit.
            assert!(
                ended.is_ok() || !whole,
                "seed {seed} sync {sync}: {ended:?}"
            );
            // A life that was not cut off loses its power at the end.
            disk.power_off();
            disk.power_on();
            let mut o = match open(disk.path()) {
                Ok(o) => o,
                Err(e) => panic!("seed {seed}, sync {sync}, survivors {survivors:?}: {e}"),
            };
            let verified = run.verify(&mut o);
            let verified = verified.and_then(|()| {
                let more = &steps[..steps.len().min(8)];
                let done = more.iter().try_for_each(|s| run.step(&mut o, s, once));
                done.map_err(|e| format!("does not go on: {e}"))?;
                run.verify(&mut o)
            });
            if let Err(why) = verified {
                panic!("seed {seed}, sync {sync}, survivors {survivors:?}: {why}");
            }
            if whole {
                return sync;
            }
        }
    }
    0
}

#[test]
fn a_power_cut_at_every_sync_of_a_short_life_loses_nothing() {
    let mut syncs = 0;
    for seed in 1..=3 {
        syncs += cut_everywhere(seed, &script(seed, 40), 40);
    }
    println!("seeds 1 to 3: the power went at {syncs} syncs");
    assert!(syncs > 60);
}

/// Values so large that the write-ahead logs fill up and are carried over in the middle of it.
#[test]
fn a_power_cut_while_the_write_ahead_log_is_carried_over_loses_nothing() {
    let mut steps = Vec::new();
    for n in 0..24 {
        steps.push(Step::Append {
            entries: 8,
            vote: n == 0,
        });
        steps.push(Step::Apply(8));
        if n == 20 {
            steps.push(Step::Cut { keep: 4 });
        }
    }
    let syncs = cut_everywhere(7, &steps, 32 << 10);
    println!("seed 7: the power went at {syncs} syncs");
    assert!(syncs > 26, "without checkpoints: {syncs}");
}

/// The test would see a loss: a disk that lies about one sync.
#[test]
fn the_twin_sees_a_lost_write() {
    let disk = Disk::new();
    let mut run = Run::new(5, 40);
    let steps = script(5, 12);
    live(&mut run, disk.path(), &steps).unwrap();
    disk.power_off();
    disk.power_on();
    let mut o = open(disk.path()).unwrap();
    run.verify(&mut o).unwrap();
    let mut other = Run::new(6, 40);
    assert!(other.verify(&mut o).is_err());
    // One entry more was acknowledged than is there.
    let append = Step::Append {
        entries: 1,
        vote: false,
    };
    let done = run.step(&mut o, &append, |_, _| Ok(()));
    assert!(done.is_ok() && run.verify(&mut o).is_err());
}
