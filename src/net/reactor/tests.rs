//! The reactor with real sockets and threads.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::task::Poll;
use std::time::{Duration, Instant};

use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};

use super::{Async, Timer, block_on, when_woken};

/// Long enough for a slow machine; passing takes far less.
const PATIENCE: Duration = Duration::from_secs(30);

fn within<T>(future: impl Future<Output = T>) -> T {
    let limit = async {
        Timer::after(PATIENCE).await;
        panic!("waited in vain");
    };
    block_on(future.or(limit))
}

fn pair() -> (Async<UnixStream>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Async::new(ours).unwrap(), theirs)
}

#[test]
fn a_short_read_before_the_end_does_not_hide_the_end() {
    let (mut ours, mut theirs) = pair();
    theirs.write_all(b"last words").unwrap();
    drop(theirs);
    let mut all = Vec::new();
    within(ours.read_to_end(&mut all)).unwrap();
    assert_eq!(all, b"last words");
}

#[test]
fn what_comes_piece_by_piece_is_read_piece_by_piece() {
    let (mut ours, mut theirs) = pair();
    let writer = std::thread::spawn(move || {
        for n in 0..1000u32 {
            theirs.write_all(&n.to_be_bytes()).unwrap();
            if n % 100 == 0 {
                std::thread::yield_now();
            }
        }
        theirs
    });
    for n in 0..1000u32 {
        let mut bytes = [0; 4];
        within(ours.read_exact(&mut bytes)).unwrap();
        assert_eq!(u32::from_be_bytes(bytes), n);
    }
    drop(writer.join().unwrap());
    assert_eq!(within(ours.read(&mut [0])).unwrap(), 0);
}

#[test]
fn writing_waits_for_the_reader() {
    let (mut ours, mut theirs) = pair();
    const LENGTH: usize = 8 << 20;
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).unwrap();
        all.len()
    });
    within(ours.write_all(&vec![7; LENGTH])).unwrap();
    drop(ours);
    assert_eq!(reader.join().unwrap(), LENGTH);
}

#[test]
fn a_peer_that_goes_away_is_noticed_without_reading() {
    let (mut ours, mut theirs) = pair();
    let now = |ours: &Async<UnixStream>| {
        block_on(smol::future::poll_once(std::future::poll_fn(|cx| {
            ours.poll_ended(cx)
        })))
        .is_some()
    };
    assert!(!now(&ours));
    theirs.write_all(b"more").unwrap();
    drop(theirs);
    // What was sent comes before the end.
    assert!(!now(&ours));
    within(ours.read_exact(&mut [0; 4])).unwrap();
    within(std::future::poll_fn(|cx| ours.poll_ended(cx)));
}

#[test]
fn connections_are_made_and_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let listener = Async::new(listener).unwrap();
    let (accepted, connected) = within(smol::future::zip(
        listener.accept(),
        Async::<TcpStream>::connect(to, Some("127.0.0.1".parse().unwrap())),
    ));
    let (stream, from) = accepted.unwrap();
    assert_eq!(connected.unwrap().get_ref().local_addr().unwrap(), from);
    drop((stream, listener));
    let (_taken, to) = crate::net::deaf();
    let refused = within(Async::<TcpStream>::connect(to, None)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let missing = within(Async::<UnixStream>::connect("/nowhere/at/all")).unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn timers_come_in_order_and_not_early() {
    let start = Instant::now();
    let after = |ms| async move {
        Timer::after(Duration::from_millis(ms)).await;
        (ms, start.elapsed())
    };
    let (first, second) = within(smol::future::zip(after(60), after(20)));
    assert!(first.1 >= Duration::from_millis(60) && second.1 >= Duration::from_millis(20));
    // Who is waked late finds all that is due: the other one is not, for as long as this may take.
    let late = PATIENCE.as_millis() as u64 * 2;
    assert_eq!(within(after(late).or(after(5))).0, 5);
    assert!(block_on(smol::future::poll_once(Timer::after(Duration::MAX))).is_none());
}

#[test]
fn an_earlier_timer_of_another_thread_shortens_the_wait() {
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    // Waits for events, with no timer of its own.
    let waiting = std::thread::spawn(move || block_on(stopped.recv()).is_err());
    within(Timer::after(Duration::from_millis(10)));
    stop.close();
    assert!(waiting.join().unwrap());
}

#[test]
fn whoever_waits_is_replaced_when_called_away() {
    // Threads that each wait for a socket of their own, and end one after the other; whether they go on is seen
    // from outside, by reads with a deadline that the reactor has no part in.
    let mut peers: Vec<_> = (0..6)
        .map(|_| {
            let (mut ours, mut theirs) = pair();
            theirs.set_read_timeout(Some(PATIENCE)).unwrap();
            let thread = std::thread::spawn(move || {
                let mut byte = [0];
                while block_on(ours.read(&mut byte)).unwrap() > 0 {
                    block_on(ours.write_all(&byte)).unwrap();
                }
            });
            theirs.write_all(b"?").unwrap();
            theirs.read_exact(&mut [0]).unwrap();
            (theirs, thread)
        })
        .collect();
    while let Some((last, thread)) = peers.pop() {
        drop(last);
        thread.join().unwrap();
        for round in 0..300 {
            for (peer, _) in &mut peers {
                peer.write_all(&[round as u8]).unwrap();
            }
            for (peer, _) in &mut peers {
                let mut byte = [0];
                peer.read_exact(&mut byte).unwrap();
                assert_eq!(byte, [round as u8]);
            }
        }
    }
}

#[test]
fn a_future_is_polled_for_its_own_sake_only() {
    let polls = std::cell::Cell::new(0);
    let mut outer = 0;
    let counted = std::future::poll_fn(|cx| {
        polls.set(polls.get() + 1);
        match polls.get() {
            1 => Poll::<()>::Pending,
            _ => {
                cx.waker().wake_by_ref();
                Poll::Ready(())
            }
        }
    });
    let mut gated = std::pin::pin!(when_woken(counted));
    block_on(std::future::poll_fn(|cx| {
        outer += 1;
        assert!(gated.as_mut().poll(cx).is_pending());
        cx.waker().wake_by_ref();
        if outer < 5 {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }));
    assert_eq!(polls.get(), 1);
}
