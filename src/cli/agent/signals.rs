//! The signals an agent obeys, as a stream of what they mean.
//!
//! Source: `docs/reference/config.md` section 15.

use async_signal::{Signal, Signals};
use smol::stream::StreamExt;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    Reload,
}

impl Asked {
    /// Go's name of the signal, for the log.
    pub fn name(self) -> &'static str {
        match self {
            Asked::Interrupt => "interrupt",
            Asked::Terminate => "terminated",
            Asked::Reload => "hangup",
        }
    }
}

/// The signals of this process.
pub struct SignalStream(Signals);

impl SignalStream {
    /// Catches the signals from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> std::io::Result<Self> {
        // SIGPIPE is ignored by the runtime library: writing to a closed pipe is an error there.
        Signals::new([Signal::Int, Signal::Term, Signal::Hup]).map(Self)
    }

    /// The next signal.
    pub async fn next(&mut self) -> Asked {
        loop {
            match self.0.next().await {
                Some(Ok(Signal::Int)) => return Asked::Interrupt,
                Some(Ok(Signal::Term)) => return Asked::Terminate,
                Some(Ok(Signal::Hup)) => return Asked::Reload,
                Some(Ok(_) | Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}
