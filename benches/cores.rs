//! Which cores agents run on and which the load comes from: half of them each, so that neither takes the other's
//! time. On a machine with one core both share it.

use std::mem;

/// Who a thread belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The agents; at least one core.
    Agents,
    /// The load.
    Load,
}

/// The cores this process may use, found before anything was bound to some of them.
pub struct Cores(Vec<usize>);

impl Cores {
    /// Looks at what the calling thread may use.
    pub fn all() -> Cores {
        // SAFETY: an all-zero set is valid, and the kernel writes no more than the size given.
        let set = unsafe {
            let mut set: libc::cpu_set_t = mem::zeroed();
            libc::sched_getaffinity(0, mem::size_of::<libc::cpu_set_t>(), &mut set);
            set
        };
        let usable = |core: &usize| {
            // SAFETY: the number is below the set's size.
            unsafe { libc::CPU_ISSET(*core, &set) }
        };
        Cores((0..libc::CPU_SETSIZE as usize).filter(usable).collect())
    }

    /// How many the machine has, whoever may use them.
    pub fn installed() -> usize {
        // SAFETY: the call reads nothing of ours.
        let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        usize::try_from(count).unwrap_or(0)
    }

    /// The cores of a side.
    pub fn of(&self, side: Side) -> &[usize] {
        let half = self.0.len() / 2;
        match side {
            _ if half == 0 => &self.0,
            Side::Agents => &self.0[..half],
            Side::Load => &self.0[half..],
        }
    }

    /// Moves the calling thread to a side, and with it every thread and process that it starts from now on.
    pub fn take(&self, side: Side) {
        // SAFETY: an all-zero set is valid, the numbers are below its size, and the kernel only reads it.
        unsafe {
            let mut set: libc::cpu_set_t = mem::zeroed();
            self.of(side)
                .iter()
                .for_each(|core| libc::CPU_SET(*core, &mut set));
            libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), &set);
        }
    }
}
