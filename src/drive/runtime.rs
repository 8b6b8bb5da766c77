//! The executor: one for the process, run by as many threads as there are cores, up to four.
//!
//! A task lives as long as its [`Task`] handle: its owner holds the handle and drops or awaits it at
//! shutdown. [`Shutdown`] is how long-lived loops learn that the end has come.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use smol::Executor;
use smol::channel::{Receiver, Sender};

use crate::{heap, net};

/// A running task; dropping it cancels the task at its next suspension point.
pub type Task<T> = smol::Task<T>;

/// More threads than this cost memory and gain nothing on the boards this is made for.
const MAX_THREADS: usize = 4;
/// Stack of an executor thread, in bytes: deep enough for SQLite and the codecs' bounded recursion.
const STACK_SIZE: usize = 1 << 20;

/// Spawns tasks; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    executor: Arc<Executor<'static>>,
}

impl Handle {
    /// Starts a task.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        self.executor.spawn(future)
    }
}

/// Owns the executor and its threads.
pub struct Runtime {
    handle: Handle,
    stop: Sender<()>,
    stopped: Receiver<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Runtime {
    /// Starts the worker threads; the thread that calls [`Runtime::run`] is one more.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let handle = Handle {
            executor: Arc::new(Executor::new()),
        };
        let (stop, stopped) = smol::channel::bounded::<()>(1);
        let mut threads = Vec::new();
        for n in 1..cores.min(MAX_THREADS) {
            let (executor, stopped) = (handle.executor.clone(), stopped.clone());
            let worker = std::thread::Builder::new()
                .name(format!("worker-{n}"))
                .stack_size(STACK_SIZE)
                .spawn(move || {
                    heap::keep_blocks();
                    // Ends with an error once `stop` is closed: that is the signal.
                    let _ = net::block_on(executor.run(net::when_woken(stopped.recv())));
                })?;
            threads.push(worker);
        }
        Ok(Self {
            handle,
            stop,
            stopped,
            threads,
        })
    }

    /// A handle for spawning.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs `main` on the calling thread together with everything spawned, until `main` ends.
    pub fn run<T>(&self, main: impl Future<Output = T>) -> T {
        heap::keep_blocks();
        net::block_on(self.handle.executor.run(net::when_woken(main)))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop.close();
        self.stopped.close();
        for worker in self.threads.drain(..) {
            // A worker that panicked has already said so on stderr.
            let _ = worker.join();
        }
    }
}

/// Tells any number of loops that they shall end; cheap to clone.
#[derive(Clone)]
pub struct Shutdown {
    flag: Arc<AtomicBool>,
    sender: Sender<()>,
    receiver: Receiver<()>,
}

impl Default for Shutdown {
    fn default() -> Self {
        let (sender, receiver) = smol::channel::bounded(1);
        Self {
            flag: Arc::default(),
            sender,
            receiver,
        }
    }
}

impl Shutdown {
    /// Says that the end has come. Further calls change nothing.
    pub fn trigger(&self) {
        self.flag.store(true, Ordering::Release);
        self.sender.close();
    }

    /// Whether the end has come.
    pub fn is_triggered(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// Waits for the end.
    pub async fn triggered(&self) {
        // Nothing is ever sent: the wait ends when the channel is closed.
        let _ = self.receiver.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_run_and_shutdown_reaches_them() {
        let runtime = Runtime::new().unwrap();
        let shutdown = Shutdown::default();
        let handle = runtime.handle();
        let waiting = {
            let shutdown = shutdown.clone();
            handle.spawn(async move {
                shutdown.triggered().await;
                7
            })
        };
        let answer = runtime.run(async {
            assert!(!shutdown.is_triggered());
            shutdown.trigger();
            waiting.await
        });
        assert_eq!(answer, 7);
    }
}
