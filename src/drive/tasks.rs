//! A set of tasks whose number is not known beforehand, such as one per connection.
//!
//! Holds true: a task that ends leaves the set by itself; dropping the set ends those that are left.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use super::runtime::{Handle, Task};

#[derive(Default)]
struct Tasks {
    running: HashMap<u64, Task<()>>,
    next: u64,
}

/// Owns tasks that come and go.
pub struct TaskSet {
    runtime: Handle,
    tasks: Arc<Mutex<Tasks>>,
}

impl TaskSet {
    /// An empty set.
    pub fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            tasks: Arc::default(),
        }
    }

    /// Starts a task.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        let id = tasks.next;
        tasks.next += 1;
        let set = Arc::downgrade(&self.tasks);
        let task = self.runtime.spawn(async move {
            future.await;
            if let Some(own) = set.upgrade().and_then(|set| lock(&set).running.remove(&id)) {
                own.detach();
            }
        });
        tasks.running.insert(id, task);
    }

    /// How many tasks are running.
    pub fn len(&self) -> usize {
        lock(&self.tasks).running.len()
    }

    /// Whether no task is running.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for TaskSet {
    fn drop(&mut self) {
        // Outside the lock: what a task drops may look at the set.
        let left = std::mem::take(&mut lock(&self.tasks).running);
        drop(left);
    }
}

/// A poisoned lock means that a thread panicked; what it guards here is always whole.
fn lock(tasks: &Mutex<Tasks>) -> std::sync::MutexGuard<'_, Tasks> {
    tasks.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Runtime;

    #[test]
    fn tasks_leave_when_they_end_and_are_ended_with_the_set() {
        let runtime = Runtime::new().unwrap();
        let set = TaskSet::new(runtime.handle());
        let (go, wait) = smol::channel::bounded::<()>(1);
        let (alive, dropped) = smol::channel::bounded::<()>(1);
        set.spawn(async move { wait.recv().await.unwrap_or(()) });
        set.spawn(async move {
            std::future::pending::<()>().await;
            drop(alive);
        });
        assert_eq!(set.len(), 2);
        drop(go);
        runtime.run(async {
            while set.len() > 1 {
                smol::future::yield_now().await;
            }
            drop(set);
            assert!(dropped.recv().await.is_err());
        });
    }
}
