//! Hosts with network namespaces of their own, and the network between them, which this process plays: every
//! packet passes through it, so it can lose them in one direction, part hosts, and delay.
//!
//! A host is a namespace with loopback and one TUN device; a thread reads each device and writes to the one whose
//! address the packet is for. Nothing is named and nothing is left: namespaces end with the processes and
//! handles in them. Needs root and `/dev/net/tun`, and no tool at all; without them a test is to skip, loudly.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The largest packet of a device.
const MTU: i32 = 1500;
/// Packets on their way, at most; beyond, they are lost.
const MAX_DELAYED: usize = 10_000;

/// What happens between two hosts, in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// Part of the packets that is lost; 1 cuts the direction.
    pub loss: f64,
    /// How long a packet takes at most; those of one direction overtake each other.
    pub delay: Duration,
}

/// One host.
struct Host {
    namespace: File,
    device: File,
}

struct Shared {
    hosts: Vec<Host>,
    links: Mutex<HashMap<(usize, usize), Link>>,
    over: AtomicBool,
}

/// Some hosts, `10.77.0.1` and so on, and the network between them; gone when dropped.
pub struct Network {
    shared: Arc<Shared>,
    carrier: Option<std::thread::JoinHandle<()>>,
}

impl Network {
    /// Makes this many hosts that reach each other.
    ///
    /// # Errors
    /// Why that is not possible here.
    pub fn new(hosts: usize) -> Result<Network, String> {
        // SAFETY: geteuid(2) takes nothing and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return Err("network namespaces need root".to_owned());
        }
        let made: io::Result<Vec<Host>> = (0..hosts).map(make_host).collect();
        let hosts = made.map_err(|e| format!("no network namespaces or TUN devices here: {e}"))?;
        let shared = Arc::new(Shared {
            hosts,
            links: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let carrying = shared.clone();
        Ok(Network {
            shared,
            carrier: Some(std::thread::spawn(move || carry(&carrying))),
        })
    }

    /// A host's address.
    pub fn ip(&self, host: usize) -> Ipv4Addr {
        address(host)
    }

    fn links(&self) -> MutexGuard<'_, HashMap<(usize, usize), Link>> {
        self.shared.links.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Sets what happens from one host to another.
    pub fn link(&self, from: usize, to: usize, link: Link) {
        self.links().insert((from, to), link);
    }

    /// Loses everything from one host to another.
    pub fn cut(&self, from: usize, to: usize) {
        let (loss, delay) = (1.0, Duration::ZERO);
        self.link(from, to, Link { loss, delay });
    }

    /// Everybody reaches everybody again.
    pub fn heal(&self) {
        self.links().clear();
    }

    /// Has a command run on a host.
    pub fn place(&self, host: usize, command: &mut Command) {
        let namespace = self.shared.hosts[host].namespace.as_raw_fd();
        // SAFETY: setns(2) is safe between fork and exec; the descriptor is open as long as `self` is.
        unsafe {
            command.pre_exec(move || enter(namespace));
        }
    }

    /// Moves the calling thread to a host for the rest of its life: sockets it opens are there.
    pub fn enter(&self, host: usize) {
        enter(self.shared.hosts[host].namespace.as_raw_fd()).expect("root may change namespaces");
    }

    /// Does something on a host, in a thread of its own.
    pub fn on<T: Send>(&self, host: usize, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter(host);
                act()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(carrier) = self.carrier.take() {
            let _ = carrier.join();
        }
    }
}

fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(
        10,
        77,
        0,
        u8::try_from(host + 1).expect("at most 254 hosts"),
    )
}

fn done(result: libc::c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn enter(namespace: RawFd) -> io::Result<()> {
    // SAFETY: setns(2) takes no pointers.
    done(unsafe { libc::setns(namespace, libc::CLONE_NEWNET) })
}

/// Makes a namespace with its devices, from a thread that lives in it meanwhile.
fn make_host(number: usize) -> io::Result<Host> {
    let make = move || {
        // SAFETY: unshare(2) takes no pointers, and changes this thread only.
        done(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
        let namespace = File::open("/proc/thread-self/ns/net")?;
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")?;
        let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        let mut request = named("eth0");
        request.ifr_ifru.ifru_flags = flags;
        control(device.as_raw_fd(), libc::TUNSETIFF, &mut request)?;
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        let socket = socket.as_raw_fd();
        raise(socket, "lo")?;
        let mut request = named("eth0");
        request.ifr_ifru.ifru_addr = socket_address(address(number));
        control(socket, libc::SIOCSIFADDR, &mut request)?;
        request.ifr_ifru.ifru_netmask = socket_address(Ipv4Addr::new(255, 255, 255, 0));
        control(socket, libc::SIOCSIFNETMASK, &mut request)?;
        request.ifr_ifru.ifru_mtu = MTU;
        control(socket, libc::SIOCSIFMTU, &mut request)?;
        raise(socket, "eth0")?;
        Ok(Host { namespace, device })
    };
    let made = std::thread::spawn(make).join();
    made.unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

fn named(device: &str) -> libc::ifreq {
    // SAFETY: all fields of `ifreq` are numbers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

fn socket_address(ip: Ipv4Addr) -> libc::sockaddr {
    // SAFETY: all fields of `sockaddr` are numbers, for which zero is a value.
    let mut address: libc::sockaddr = unsafe { std::mem::zeroed() };
    address.sa_family = libc::AF_INET as libc::sa_family_t;
    for (to, from) in address.sa_data[2..].iter_mut().zip(ip.octets()) {
        *to = from as libc::c_char;
    }
    address
}

fn control(descriptor: RawFd, what: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: `request` is a whole `ifreq`, which is what these calls take.
    done(unsafe { libc::ioctl(descriptor, what, std::ptr::from_mut(request)) })
}

fn raise(socket: RawFd, device: &str) -> io::Result<()> {
    let mut request = named(device);
    control(socket, libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: SIOCGIFFLAGS has filled in the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    control(socket, libc::SIOCSIFFLAGS, &mut request)
}

/// A packet on its way: when it arrives, in which order it was sent, where to, and its bytes.
type Late = (Instant, u64, usize, Vec<u8>);

/// Carries packets between the devices until the network is over.
fn carry(shared: &Shared) {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut delayed: BinaryHeap<Reverse<Late>> = BinaryHeap::new();
    let mut count = 0;
    let mut buffer = vec![0; 65_536];
    while !shared.over.load(Ordering::Relaxed) {
        wait(shared, delayed.peek().map(|first| first.0.0));
        for (from, host) in shared.hosts.iter().enumerate() {
            for _ in 0..256 {
                let Ok(n) = (&host.device).read(&mut buffer) else {
                    break;
                };
                let packet = &buffer[..n];
                let Some(to) = target(packet).filter(|to| *to < shared.hosts.len()) else {
                    continue;
                };
                let links = shared.links.lock().unwrap_or_else(|e| e.into_inner());
                let link = links.get(&(from, to)).copied().unwrap_or_default();
                drop(links);
                if link.loss > 0.0 && rng.f64() < link.loss {
                    continue;
                }
                if link.delay.is_zero() {
                    deliver(shared, to, packet);
                } else if delayed.len() < MAX_DELAYED {
                    count += 1;
                    let at = Instant::now() + link.delay.mul_f64(rng.f64());
                    delayed.push(Reverse((at, count, to, packet.to_vec())));
                }
            }
        }
        while let Some(Reverse(first)) = delayed.peek()
            && first.0 <= Instant::now()
        {
            if let Some(Reverse((_, _, to, packet))) = delayed.pop() {
                deliver(shared, to, &packet);
            }
        }
    }
}

/// Waits until a device has a packet, or for a moment.
fn wait(shared: &Shared, next: Option<Instant>) {
    let moment = Duration::from_millis(100);
    let until = next.map_or(moment, |at| at.saturating_duration_since(Instant::now()));
    let mut waiting: Vec<libc::pollfd> = shared
        .hosts
        .iter()
        .map(|host| libc::pollfd {
            fd: host.device.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let ms = until.min(moment).as_micros().div_ceil(1000) as libc::c_int;
    // SAFETY: the pointer and the length are those of `waiting`.
    unsafe { libc::poll(waiting.as_mut_ptr(), waiting.len() as libc::nfds_t, ms) };
}

/// The host an IPv4 packet is for.
fn target(packet: &[u8]) -> Option<usize> {
    let version = packet.first()? >> 4;
    match packet.get(16..20)? {
        [10, 77, 0, last] if version == 4 => usize::from(*last).checked_sub(1),
        _ => None,
    }
}

fn deliver(shared: &Shared, to: usize, packet: &[u8]) {
    // A device whose queue is full loses the packet, as networks do.
    let _ = (&shared.hosts[to].device).write(packet);
}
