//! Starting a client agent: its part in the LAN pool, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use smol::channel::Sender;

use super::{Client, Options, lan};
use crate::drive::gossip::{GossipDriver, Settings};
use crate::drive::{Handle, Shutdown, Task};
use crate::net::pool::{self, Pool};
use crate::serf::settings::start_error;
use crate::serf::{Area, Notice};
use crate::structs::Result;

/// A server that cannot be reached is given up sooner than alone, because there are others.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// A client agent with everything that runs on its behalf.
pub struct Running {
    /// The client agent.
    pub client: Arc<Client>,
    gossip: GossipDriver,
    /// Ended with this.
    tasks: Vec<Task<()>>,
}

impl Running {
    /// Takes part in the LAN pool. `notices` receives what the agent is to hear of.
    ///
    /// # Errors
    /// In Consul's words, when the address is taken for example.
    pub fn start(
        runtime: &Handle,
        shutdown: &Shutdown,
        options: Options,
        lan: Settings,
        notices: Sender<Notice>,
    ) -> Result<Self> {
        let source = lan.bind.ip();
        let gossip = GossipDriver::start(runtime, shutdown.clone(), lan)
            .map_err(|e| start_error(Area::Lan, &e))?;
        let spawn: pool::Spawner = {
            let runtime = runtime.clone();
            Arc::new(move |future| runtime.spawn(future))
        };
        let pool = Pool::new(spawn, Some(source)).with_dial_timeout(DIAL_TIMEOUT);
        let pool = Arc::new(pool);
        let client = Client::new(options, pool.clone(), gossip.handle());
        let tasks = vec![
            runtime.spawn(pool::sweeper(Arc::downgrade(&pool))),
            runtime.spawn(lan::follow(client.clone(), gossip.events(), notices)),
            runtime.spawn(lan::rebalancer(client.clone())),
        ];
        Ok(Self {
            client,
            gossip,
            tasks,
        })
    }

    /// Waits for everything to end after shutdown was triggered.
    pub async fn join(self) {
        for task in self.tasks {
            task.cancel().await;
        }
        self.gossip.join().await;
    }
}
