//! Every single write, sync and truncation of a scripted life fails once, and all that follow until somebody
//! mends the disk: the error is told, reads go on, nothing acknowledged is lost, and the same call works when
//! the disk does.

use consul_lite::store::{StoreError, WatchSet};

use crate::disk::{Disk, Failure, Plan};
use crate::script::{Open, Run, Step, open, script};

/// Lives through the script on a disk that fails from one operation on and is mended after `patience` failed
/// attempts.
fn live(
    disk: &Disk,
    run: &mut Run,
    steps: &[Step],
    patience: u32,
) -> Result<Vec<StoreError>, String> {
    let mut told = Vec::new();
    let mut o = loop {
        match open(disk.path()) {
            Ok(o) => break o,
            Err(e) if disk.failed() > 0 => told.push(e),
            Err(e) => return Err(format!("open: {e}")),
        }
        disk.mend();
    };
    for step in steps {
        let attempts = |o: &mut Open, call: &mut dyn FnMut(&mut Open) -> Result<(), StoreError>| {
            for n in 0.. {
                let Err(e) = call(o) else { break };
                reads_go_on(o).map_err(|e| StoreError::Io(format!("reads: {e}")))?;
                told.push(e.clone());
                if n == patience {
                    disk.mend();
                } else if n > patience {
                    return Err(e);
                }
            }
            Ok(())
        };
        run.step(&mut o, step, attempts)
            .map_err(|e| format!("{step:?} fails on a sound disk: {e}"))?;
    }
    disk.mend();
    run.verify(&mut o)?;
    drop(o);
    // What was acknowledged is durable too.
    disk.power_off();
    disk.power_on();
    run.verify(&mut open(disk.path()).map_err(|e| e.to_string())?)?;
    Ok(told)
}

fn reads_go_on(o: &Open) -> Result<(), StoreError> {
    let read = o.state.read()?;
    read.kvs_list(&mut WatchSet::new(), "k/").map(|_| ())
}

fn fail_everywhere(seed: u64, how: Failure, patience: u32) -> (u64, usize) {
    let steps = script(seed, 26);
    let mut told = 0;
    for from in 1.. {
        let disk = Disk::new();
        disk.plan(Plan::Fail { from, how });
        let mut run = Run::new(seed, 40);
        match live(&disk, &mut run, &steps, patience) {
            Ok(errors) => {
                told += errors.len();
                for e in errors {
                    let right = match how {
                        Failure::Full => matches!(e, StoreError::DiskFull(_)),
                        Failure::Io => matches!(e, StoreError::Io(_)),
                    };
                    assert!(right && e.to_string().contains(".db"), "{e:?}");
                }
            }
            Err(why) => panic!("seed {seed}, {how:?} from operation {from}: {why}"),
        }
        if disk.failed() == 0 {
            return (from - 1, told);
        }
    }
    (0, 0)
}

#[test]
fn no_space_at_any_write_loses_nothing_and_is_got_over() {
    let (operations, told) = fail_everywhere(11, Failure::Full, 0);
    println!("seed 11: {operations} operations failed in turn, {told} errors told");
    assert!(operations > 200 && told > 100);
}

#[test]
fn an_io_error_at_any_operation_loses_nothing_and_is_got_over() {
    let (operations, told) = fail_everywhere(12, Failure::Io, 1);
    println!("seed 12: {operations} operations failed in turn, {told} errors told");
    assert!(operations > 200 && told > 100);
}
