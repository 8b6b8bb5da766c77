//! The heap of builds with musl: its malloc, with a cache of small blocks before it for each thread that asks for one.
//!
//! musl's malloc is small and gives memory back, but every call takes one lock for the whole process. Here a block that a
//! thread frees stays with the thread until it wants one of that size (Bonwick's magazines, the thread caches of other
//! allocators), within a bound of some 160 KiB a thread. `docs/edge.md` has the figures, other allocators' too.
//!
//! Holds true: what is kept is bounded, by size class; a thread without a cache uses musl's malloc as it is. Blocks that
//! one thread takes and another frees are no different from others.
//! Leaves to others: SQLite and ring, which are C and call malloc themselves.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;

/// Sizes in steps of 16 bytes up to 128, and then four for each power of two up to [`LARGEST`].
const CLASSES: usize = 32;
/// Larger blocks are not kept.
const LARGEST: usize = 8192;
/// Blocks for types that want more than this are not kept. Every malloc gives as much.
const ALIGN: usize = 8;
/// Bytes kept of one class, about,
const KEPT_BYTES: usize = 4096;
/// and blocks, at least and at most.
const KEPT_BLOCKS: (usize, usize) = (2, 32);

/// Blocks of so many bytes are never kept, whatever the C library.
#[cfg(target_env = "gnu")]
const GIVEN_BACK: libc::c_int = 256 << 10;

#[cfg(target_env = "musl")]
#[global_allocator]
static HEAP: Heap = Heap;

/// The allocator.
#[derive(Debug)]
pub struct Heap;

/// Kept blocks of one size.
struct Class {
    /// A list: each free block begins with the address of the next.
    first: *mut u8,
    /// How many more there may be; none in a thread that has not asked for a cache.
    room: usize,
}

struct Cache(UnsafeCell<[Class; CLASSES]>);

thread_local! {
    // Needs no destructor, so that it can be used for as long as the thread allocates.
    static CACHE: Cache = const {
        Cache(UnsafeCell::new(
            [const { Class { first: ptr::null_mut(), room: 0 } }; CLASSES],
        ))
    };
}

/// Lets the calling thread keep blocks it frees. For threads that live as long as the process: what one keeps when it
/// ends is lost. glibc's malloc has such caches itself, and is told here to give large blocks back as they are freed:
/// else it raises its bound for that to the largest it has seen, and keeps what large answers leave behind.
pub fn keep_blocks() {
    if cfg!(target_env = "musl") {
        start_keeping();
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number, under malloc's own lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, GIVEN_BACK);
    }
}

fn start_keeping() {
    CACHE.with(|cache| {
        // SAFETY: the cache is this thread's, and nothing in here allocates.
        let classes = unsafe { &mut *cache.0.get() };
        for (n, class) in classes.iter_mut().enumerate() {
            if class.first.is_null() {
                class.room = (KEPT_BYTES / size(n)).clamp(KEPT_BLOCKS.0, KEPT_BLOCKS.1);
            }
        }
    });
}

/// The class whose blocks hold so many bytes, up to [`LARGEST`].
fn class(bytes: usize) -> usize {
    let last = bytes.saturating_sub(1);
    if last < 128 {
        return last / 16;
    }
    let power = last.ilog2() as usize;
    8 + (power - 7) * 4 + ((last >> (power - 2)) & 3)
}

/// Bytes of a class's blocks.
fn size(class: usize) -> usize {
    if class < 8 {
        return (class + 1) * 16;
    }
    let (power, quarters) = ((class - 8) / 4 + 7, (class - 8) % 4 + 1);
    (1 << power) + (quarters << (power - 2))
}

fn is_kept(layout: Layout) -> bool {
    layout.size() <= LARGEST && layout.align() <= ALIGN
}

/// How a class's blocks are asked for and given back.
fn whole(class: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and no size comes near the largest there is.
    unsafe { Layout::from_size_align_unchecked(size(class), ALIGN) }
}

/// A block that was kept, or null.
fn take(n: usize) -> *mut u8 {
    CACHE.with(|cache| {
        // SAFETY: the cache is this thread's, and nothing in here allocates.
        let class = unsafe { &mut (*cache.0.get())[n] };
        let first = class.first;
        if !first.is_null() {
            // SAFETY: `put` wrote the address of the next one there; nobody else has the block since.
            class.first = unsafe { first.cast::<*mut u8>().read() };
            class.room += 1;
        }
        first
    })
}

/// Keeps a block if there is room for it.
///
/// # Safety
/// The block is of class `n`, aligned for a pointer, and nobody's any more.
unsafe fn put(n: usize, block: *mut u8) -> bool {
    CACHE.with(|cache| {
        // SAFETY: the cache is this thread's, and nothing in here allocates.
        let class = unsafe { &mut (*cache.0.get())[n] };
        if class.room == 0 {
            return false;
        }
        class.room -= 1;
        // SAFETY: the smallest block is larger than a pointer.
        unsafe { block.cast::<*mut u8>().write(class.first) };
        class.first = block;
        true
    })
}

// SAFETY: every block is the system's, of the layout that it is given back with: `whole` of its class when it is kept,
// which is told by the layout alone, else the caller's. A block is in one list or in use, never both.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_kept(layout) {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        }
        let n = class(layout.size());
        let kept = take(n);
        if kept.is_null() {
            // SAFETY: no class has blocks of no bytes.
            return unsafe { System.alloc(whole(n)) };
        }
        kept
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !is_kept(layout) {
            // SAFETY: the caller's promise; it came from there.
            return unsafe { System.dealloc(block, layout) };
        }
        let n = class(layout.size());
        // SAFETY: `alloc` took it as a whole block of this class, and the caller gives it up.
        unsafe {
            if !put(n, block) {
                System.dealloc(block, whole(n));
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_kept(layout) {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: the caller's promise; the block holds at least so many bytes.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                ptr::write_bytes(block, 0, layout.size());
            }
            block
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size, rounded up to the alignment, does not overflow.
        let new = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        match (is_kept(layout), is_kept(new)) {
            // SAFETY: the caller's promise; it came from there.
            (false, false) => return unsafe { System.realloc(block, layout, bytes) },
            (true, true) if class(layout.size()) == class(bytes) => return block,
            _ => {}
        }
        // SAFETY: both blocks hold what is copied, and they are two.
        unsafe {
            let to = self.alloc(new);
            if !to.is_null() {
                ptr::copy_nonoverlapping(block, to, bytes.min(layout.size()));
                self.dealloc(block, layout);
            }
            to
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 8).unwrap()
    }

    /// Runs `test` on a thread that keeps blocks.
    fn keeping(test: impl FnOnce() + Send + 'static) {
        let thread = std::thread::spawn(|| {
            start_keeping();
            test();
        });
        thread.join().unwrap();
    }

    #[test]
    fn every_size_has_the_smallest_class_that_holds_it() {
        for bytes in 1..=LARGEST {
            let n = class(bytes);
            assert!(size(n) >= bytes, "{bytes}");
            assert!(n == 0 || size(n - 1) < bytes, "{bytes}");
        }
        assert_eq!((size(CLASSES - 1), class(LARGEST)), (LARGEST, CLASSES - 1));
    }

    #[test]
    fn a_thread_keeps_a_bounded_number_of_bytes() {
        keeping(|| {
            let kept = || {
                CACHE.with(|cache| {
                    // SAFETY: nothing else uses this thread's cache meanwhile.
                    let classes = unsafe { &*cache.0.get() };
                    let mut bytes = 0;
                    for (n, class) in classes.iter().enumerate() {
                        let mut block = class.first;
                        while !block.is_null() {
                            bytes += size(n);
                            // SAFETY: kept blocks begin with the next one's address.
                            block = unsafe { block.cast::<*mut u8>().read() };
                        }
                    }
                    bytes
                })
            };
            assert_eq!(kept(), 0);
            for n in 0..CLASSES {
                // SAFETY: each block is given back with its own layout.
                unsafe {
                    let blocks: Vec<_> = (0..100).map(|_| Heap.alloc(layout(size(n)))).collect();
                    for block in blocks {
                        Heap.dealloc(block, layout(size(n)));
                    }
                }
            }
            let bytes = kept();
            assert!(bytes > 100 << 10 && bytes < 170 << 10, "{bytes}");
        });
    }

    #[test]
    fn what_is_kept_is_given_out_again() {
        keeping(|| {
            // SAFETY: each block is given back with its own layout, once.
            unsafe {
                let first = Heap.alloc(layout(100));
                ptr::write_bytes(first, 0xff, 100);
                Heap.dealloc(first, layout(100));
                let second = Heap.alloc_zeroed(layout(110));
                assert_eq!(first, second);
                let zeros = std::slice::from_raw_parts(second, 110);
                assert!(zeros.iter().all(|byte| *byte == 0));
                Heap.dealloc(second, layout(110));
            }
        });
    }

    #[test]
    fn a_thread_that_did_not_ask_keeps_nothing() {
        let none = std::thread::spawn(|| {
            // SAFETY: the block is given back with its own layout.
            unsafe { Heap.dealloc(Heap.alloc(layout(64)), layout(64)) };
            take(class(64)).is_null()
        });
        assert!(none.join().unwrap());
    }

    #[test]
    fn growing_and_shrinking_keeps_the_content() {
        keeping(|| {
            let sizes = [
                1, 15, 17, 128, 129, 4000, 8192, 8193, 100_000, 8192, 300, 16, 3,
            ];
            // SAFETY: the block is always known by its latest size.
            unsafe {
                let mut block = Heap.alloc(layout(1));
                *block = 42;
                for pair in sizes.windows(2) {
                    block = Heap.realloc(block, layout(pair[0]), pair[1]);
                    assert_eq!(*block, 42, "{pair:?}");
                    if pair[1] > pair[0] {
                        ptr::write_bytes(block.add(pair[0]), 7, pair[1] - pair[0]);
                    }
                    assert!(pair[1] < 2 || *block.add(1) == 7);
                }
                Heap.dealloc(block, layout(3));
            }
        });
    }

    #[test]
    fn blocks_wander_between_threads() {
        let (sender, receiver) = std::sync::mpsc::channel::<(usize, usize)>();
        let taker = std::thread::spawn(move || {
            start_keeping();
            for (address, bytes) in receiver {
                // SAFETY: the other thread gave the block up with its size.
                unsafe {
                    let block = address as *mut u8;
                    assert_eq!(*block.add(bytes - 1), bytes as u8);
                    Heap.dealloc(block, layout(bytes));
                }
            }
        });
        keeping(move || {
            for n in 0..10_000 {
                let bytes = 1 + n * 31 % 9000;
                // SAFETY: the block is that large, and given up by being sent.
                let block = unsafe { Heap.alloc(layout(bytes)) };
                unsafe { *block.add(bytes - 1) = bytes as u8 };
                sender.send((block as usize, bytes)).unwrap();
            }
        });
        taker.join().unwrap();
    }
}
