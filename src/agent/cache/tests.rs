//! The cache against a delegate whose catalog the test changes.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use event_listener::Event;

use super::*;
use crate::atomic::AtomicU64;
use crate::drive::Runtime;
use crate::structs::rpc::{BoxFuture, Stats};
use crate::structs::{
    CheckServiceNode, DatacentersRequest, IndexedCheckServiceNodes, KeyRequest, Member, Position,
    QueryMeta, ServiceSpecificRequest, SnapshotRequest, SnapshotResponse,
};

/// One service whose index the test moves; every blocking query waits for it as a server's would.
struct Catalog {
    index: AtomicU64,
    rows: AtomicUsize,
    down: AtomicBool,
    moved: Event,
    calls: AtomicUsize,
}

impl Catalog {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            index: AtomicU64::new(5),
            rows: AtomicUsize::new(1),
            down: AtomicBool::new(false),
            moved: Event::new(),
            calls: AtomicUsize::new(0),
        })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn change(&self) {
        self.index.fetch_add(1, Ordering::SeqCst);
        self.moved.notify(usize::MAX);
    }

    fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
        self.moved.notify(usize::MAX);
    }

    async fn answer(&self, request: Request) -> Result<Reply> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let wanted = request.routed().options().map_or(0, |o| o.min_query_index);
        loop {
            let moved = self.moved.listen();
            if self.down.load(Ordering::SeqCst) {
                return Err(Error::new("No known Consul servers"));
            }
            let index = self.index.load(Ordering::SeqCst);
            if wanted == 0 || index > wanted {
                return Ok(self.reply(&request, index));
            }
            moved.await;
        }
    }

    fn reply(&self, request: &Request, index: u64) -> Reply {
        let nodes = vec![CheckServiceNode::default(); self.rows.load(Ordering::SeqCst)];
        match request {
            Request::HealthServiceNodes(_) => Reply::HealthServiceNodes(IndexedCheckServiceNodes {
                nodes: Some(nodes),
                meta: QueryMeta {
                    index,
                    ..QueryMeta::default()
                },
            }),
            Request::CatalogListDatacenters(_) => Reply::CatalogListDatacenters(vec!["dc1".into()]),
            _ => Reply::KvsGet(crate::structs::IndexedDirEntries::default()),
        }
    }
}

impl Delegate for Catalog {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply>> {
        Box::pin(self.answer(request))
    }
    fn snapshot_save(&self, _: SnapshotRequest) -> BoxFuture<'_, Result<(SnapshotResponse, File)>> {
        Box::pin(async { Err(Error::new("no snapshots")) })
    }
    fn snapshot_restore(
        &self,
        _: SnapshotRequest,
        _: File,
    ) -> BoxFuture<'_, Result<SnapshotResponse>> {
        Box::pin(async { Err(Error::new("no snapshots")) })
    }
    fn members(&self, _: bool) -> Option<Vec<Member>> {
        None
    }
    fn coordinate(&self) -> Option<Position> {
        None
    }
    fn join(&self, _: Vec<String>, _: bool) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async { Ok(0) })
    }
    fn force_leave(&self, _: String, _: bool) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
    fn leave(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
    fn stats(&self) -> BoxFuture<'_, Stats> {
        Box::pin(async { Stats::new() })
    }
}

const UNLIMITED: Rate = Rate {
    per_second: f64::MAX,
    burst: 2,
};

/// Runs a test with a catalog and a cache of it, within a minute.
fn with_cache<F: Future<Output = ()>>(test: impl FnOnce(Arc<Catalog>, Arc<Cache>) -> F) {
    let runtime = Runtime::new().unwrap();
    let catalog = Catalog::new();
    let cache = Cache::new(catalog.clone(), runtime.handle(), UNLIMITED);
    let limit = Duration::from_secs(60);
    let ended = runtime.run(drive::timeout(limit, test(catalog, cache)));
    assert!(ended.is_ok(), "the test hangs");
}

fn web(index: u64, wait: Duration) -> Request {
    let mut request = ServiceSpecificRequest {
        service_name: "web".into(),
        ..ServiceSpecificRequest::default()
    };
    request.options.min_query_index = index;
    request.options.max_query_time = wait.into();
    Request::HealthServiceNodes(request)
}

fn now() -> Request {
    web(0, Duration::ZERO)
}

fn found(cached: &Cached) -> u64 {
    kind::index(&cached.reply)
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        drive::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn a_second_request_is_a_hit_and_stays_up_to_date() {
    with_cache(|catalog, cache| async move {
        let first = cache.get(now()).await.unwrap();
        assert!(!first.hit && found(&first) == 5);
        let second = cache.get(now()).await.unwrap();
        assert!(second.hit && second.age.is_zero() && found(&second) == 5);
        until(|| catalog.calls() == 2).await;
        catalog.change();
        // Within a moment the hit is the new one, and nobody had to ask.
        loop {
            let hit = cache.get(now()).await.unwrap();
            assert!(hit.hit);
            if found(&hit) == 6 {
                break;
            }
            drive::sleep(Duration::from_millis(2)).await;
        }
        until(|| catalog.calls() == 3).await;
    });
}

#[test]
fn many_at_once_are_one_fetch() {
    with_cache(|catalog, cache| async move {
        let all: Vec<_> = (0..20).map(|_| cache.get(now())).collect();
        for one in all {
            assert_eq!(found(&one.await.unwrap()), 5);
        }
        assert!(catalog.calls() <= 2);
        assert_eq!(cache.len(), 1);
    });
}

#[test]
fn an_index_waits_for_news_and_gives_up_in_time() {
    with_cache(|catalog, cache| async move {
        cache.get(now()).await.unwrap();
        let began = drive::now();
        let unchanged = cache.get(web(5, Duration::from_millis(80))).await.unwrap();
        assert!(!unchanged.hit && found(&unchanged) == 5);
        assert!(began.elapsed() >= Duration::from_millis(80));
        let waiting = cache.get(web(5, Duration::from_secs(50)));
        let change = async {
            until(|| catalog.calls() == 2).await;
            catalog.change();
            std::future::pending().await
        };
        let news = smol::future::or(waiting, change).await.unwrap();
        assert!(!news.hit && found(&news) == 6);
        assert!(cache.get(web(5, Duration::ZERO)).await.unwrap().hit);
    });
}

#[test]
fn what_is_kept_is_given_while_the_servers_are_away() {
    with_cache(|catalog, cache| async move {
        cache.get(now()).await.unwrap();
        until(|| catalog.calls() == 2).await;
        catalog.set_down(true);
        let error = cache
            .get(web(5, Duration::from_secs(50)))
            .await
            .unwrap_err();
        assert_eq!(error.text(), "No known Consul servers");
        loop {
            let kept = cache.get(now()).await.unwrap();
            assert!(kept.hit && found(&kept) == 5);
            if !kept.age.is_zero() {
                break;
            }
        }
        catalog.change();
        catalog.set_down(false);
        loop {
            let kept = cache.get(now()).await.unwrap();
            if found(&kept) == 6 {
                assert!(kept.age.is_zero());
                break;
            }
            drive::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_first_fetch_that_fails_leaves_nothing() {
    with_cache(|catalog, cache| async move {
        catalog.set_down(true);
        assert!(cache.get(now()).await.is_err());
        until(|| cache.is_empty()).await;
        catalog.set_down(false);
        assert!(!cache.get(now()).await.unwrap().hit);
    });
}

#[test]
fn simple_answers_have_an_age() {
    with_cache(|catalog, cache| async move {
        let ask = |must_revalidate, max_age| {
            let mut request = DatacentersRequest::default();
            request.options.must_revalidate = must_revalidate;
            request.options.max_age = Duration::from_millis(max_age).into();
            cache.get(Request::CatalogListDatacenters(request))
        };
        assert!(!ask(false, 0).await.unwrap().hit);
        assert!(ask(false, 0).await.unwrap().hit);
        assert!(ask(false, 50_000).await.unwrap().hit);
        assert!(!ask(true, 0).await.unwrap().hit);
        drive::sleep(Duration::from_millis(3)).await;
        let old = ask(false, 0).await.unwrap();
        assert!(old.hit && old.age >= Duration::from_millis(3));
        assert!(!ask(false, 1).await.unwrap().hit);
        catalog.set_down(true);
        let kept = ask(true, 0).await.unwrap();
        assert!(!kept.hit);
    });
}

#[test]
fn what_servers_look_at_tells_answers_apart() {
    with_cache(|_, cache| async move {
        let mut other = ServiceSpecificRequest {
            service_name: "web".into(),
            ..ServiceSpecificRequest::default()
        };
        other.options.token = "secret".into();
        cache.get(now()).await.unwrap();
        let theirs = cache.get(Request::HealthServiceNodes(other.clone())).await;
        assert!(!theirs.unwrap().hit);
        other.options.token.clear();
        other.options.allow_stale = true;
        other.options.use_cache = true;
        let same = cache.get(Request::HealthServiceNodes(other)).await;
        assert!(same.unwrap().hit);
        // What is not for the cache passes it by.
        let key = Request::KvsGet(KeyRequest::default());
        assert!(!cache.get(key.clone()).await.unwrap().hit);
        assert!(!cache.get(key).await.unwrap().hit);
        assert_eq!(cache.len(), 2);
    });
}

#[test]
fn the_least_recently_used_go_first() {
    with_cache(|catalog, cache| async move {
        catalog.rows.store(MAX_ROWS / 4, Ordering::SeqCst);
        let named = |n: usize| {
            cache.get(Request::HealthServiceNodes(ServiceSpecificRequest {
                service_name: format!("s{n}"),
                ..ServiceSpecificRequest::default()
            }))
        };
        for n in 0..4 {
            assert!(!named(n).await.unwrap().hit);
        }
        assert!(named(0).await.unwrap().hit);
        assert!(!named(4).await.unwrap().hit);
        assert_eq!(cache.len(), 4);
        assert!(named(0).await.unwrap().hit, "used a moment ago");
        assert!(!named(1).await.unwrap().hit, "not used for longest");
        // One that is too large alone is answered, but not kept.
        catalog.rows.store(MAX_ROWS + 1, Ordering::SeqCst);
        assert!(!named(9).await.unwrap().hit);
        assert!(!named(9).await.unwrap().hit);
        assert!(cache.0.lock().rows <= MAX_ROWS);
        // The background queries of those that are gone have ended.
        until(|| cache.0.tasks.len() == cache.len()).await;
    });
}

#[test]
fn idle_answers_are_forgotten() {
    with_cache(|catalog, cache| async move {
        cache.get(now()).await.unwrap();
        let (key, entry) = {
            let table = cache.0.lock();
            let (key, entry) = table.entries.iter().next().unwrap();
            (*key, entry.clone())
        };
        until(|| catalog.calls() == 2).await;
        let later = drive::now() + IDLE + Duration::from_secs(1);
        let waiting = entry.wait();
        assert!(
            !cache.0.retire(&key, &entry, later),
            "somebody waits for it"
        );
        drop(waiting);
        assert!(
            !cache.0.retire(&key, &entry, drive::now()),
            "it was used now"
        );
        assert!(cache.0.retire(&key, &entry, later));
        until(|| cache.0.tasks.is_empty()).await;
        assert_eq!((cache.len(), cache.0.lock().rows), (0, 0));
    });
}

#[test]
fn pauses_grow_to_a_limit() {
    assert!(pause_after(1) < Duration::from_millis(100));
    assert!(pause_after(3) < Duration::from_millis(200));
    assert_eq!(pause_after(4), Duration::from_secs(1));
    assert_eq!(pause_after(6), Duration::from_secs(4));
    assert_eq!(pause_after(1000), MAX_PAUSE);
}
