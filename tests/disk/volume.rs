//! A small ext4 file system on a loop device over a file in memory, whose power can be cut.
//!
//! A cut takes the blocks that have reached the device and nothing of what is still in the file system's memory:
//! everything that nobody synced is gone, the journal has to be replayed. The copy of the device is taken again
//! until two are alike, so it is one moment's. What this cannot show is a device whose own cache loses what it was
//! told to flush; `tests/store/power.rs` shows that below the file system, write by write.
//!
//! Holds true: mounts live in the mount namespace that [`own_mounts`] makes, and end with the process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::TempDir;

/// Moves this process into a mount namespace of its own; to be called before there are threads.
///
/// # Errors
/// What is missing for loop mounts.
pub fn own_mounts() -> Result<(), String> {
    // SAFETY: geteuid(2) and unshare(2) take no pointers.
    unsafe {
        if libc::geteuid() != 0 {
            return Err("must be root to mount".to_owned());
        }
        if libc::unshare(libc::CLONE_NEWNS) != 0 {
            return Err(format!("unshare: {}", std::io::Error::last_os_error()));
        }
    }
    run("mount", &["--make-rprivate", "/"])?;
    let probe = TempDir::new("volume");
    Volume::new(probe.path(), 8).map(drop)
}

fn run(tool: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(tool)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{tool}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{tool} {args:?}: {}", said.trim()))
}

/// The file system.
pub struct Volume {
    dir: PathBuf,
    images: PathBuf,
    generation: u32,
}

impl Volume {
    /// Makes and mounts one of so many MiB at `dir/volume`.
    ///
    /// # Errors
    /// What cannot be done here.
    pub fn new(dir: &Path, mib: u64) -> Result<Volume, String> {
        let memory = Path::new("/dev/shm");
        let images = if memory.is_dir() { memory } else { dir };
        let name = format!(
            "consul-lite-volume-{}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        );
        let volume = Volume {
            dir: dir.join("volume"),
            images: images.join(name),
            generation: 0,
        };
        fs::create_dir_all(&volume.dir).map_err(|e| e.to_string())?;
        fs::create_dir_all(&volume.images).map_err(|e| e.to_string())?;
        let image = volume.image();
        let file = fs::File::create(&image).map_err(|e| e.to_string())?;
        file.set_len(mib << 20).map_err(|e| e.to_string())?;
        let image = image.display().to_string();
        run("mkfs.ext4", &["-q", "-m", "0", "-F", &image])?;
        volume.mount()?;
        Ok(volume)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    fn image(&self) -> PathBuf {
        self.images.join(format!("{}.img", self.generation))
    }

    /// The journal is written when somebody syncs, not every five seconds as usual.
    fn mount(&self) -> Result<(), String> {
        let (image, dir) = (self.image(), self.dir.display().to_string());
        run(
            "mount",
            &["-o", "loop,commit=300", &image.display().to_string(), &dir],
        )
    }

    fn unmount(&self) -> Result<(), String> {
        run("umount", &[&self.dir.display().to_string()])
    }

    /// Cuts the power and gives it back. Nobody may have files open.
    ///
    /// # Errors
    /// When the file system does not come back.
    pub fn cut(&mut self) -> Result<(), String> {
        let old = self.image();
        self.generation += 1;
        let new = self.image();
        let mut last = fs::read(&old).map_err(|e| e.to_string())?;
        loop {
            let again = fs::read(&old).map_err(|e| e.to_string())?;
            if again == last {
                break;
            }
            last = again;
        }
        fs::write(&new, &last).map_err(|e| e.to_string())?;
        // What this writes goes to the old device.
        self.unmount()?;
        fs::remove_file(&old).map_err(|e| e.to_string())?;
        self.mount()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // What stays mounted ends with the namespace.
        let _ = self.unmount();
        let _ = fs::remove_dir_all(&self.images);
    }
}
