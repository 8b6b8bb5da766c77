//! Compresses the web page's files into the build, so that the binary carries them once and small.
//!
//! Writes `ui_assets.rs`: the version of the whole and one line per file (name, tag, compressed bytes). With
//! the feature `ui` off the list is empty.
//!
//! Links the program with packed relative relocations where the system's C library can read them (glibc from 2.36
//! on): 200 KB less of a position-independent program are tables of them. A release, in which a panic aborts, is linked
//! without the standard library's tables for unwinding, 840 KB, where the linker can leave them out.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::{Compression, write::GzEncoder};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a directory"));
    let folder = root.join("src/ui/page");
    println!("cargo::rerun-if-changed=build.rs");
    let native = env::var_os("HOST") == env::var_os("TARGET");
    leave_out_unwinding(&out);
    if native && libc_reads_packed() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    if env::var_os("CARGO_FEATURE_UI").is_some() {
        collect(&folder, &folder, &mut files);
    }
    files.sort();
    let mut all = Hash::default();
    let mut lines = String::new();
    for name in &files {
        let bytes = fs::read(folder.join(name)).expect("a file of the page can be read");
        let mut own = Hash::default();
        own.add(&bytes);
        all.add(name.as_bytes());
        all.add(&bytes);
        let packed = out.join(format!("{}.gz", name.replace('/', "+")));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bytes).expect("memory can be written");
        let packed_bytes = encoder.finish().expect("memory can be written");
        fs::write(&packed, packed_bytes).expect("the build's directory can be written");
        lines += &format!(
            "    Asset {{ name: {name:?}, tag: \"{:016x}\", gzip: include_bytes!({packed:?}) }},\n",
            own.0
        );
    }
    let text = format!(
        "/// Changes whenever a file of the page does.\n\
         pub const VERSION: &str = \"{:016x}\";\n\
         static ASSETS: &[Asset] = &[\n{lines}];\n",
        all.0
    );
    fs::write(out.join("ui_assets.rs"), text).expect("the build's directory can be written");
}

/// What a linker script of its own takes out of the sections that the linker keeps.
const NO_UNWINDING: &str = "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.eh_frame.*) *(.gcc_except_table) \
                            *(.gcc_except_table.*) } } INSERT AFTER .rodata;\n";

/// The standard library comes compiled with tables for unwinding, which a program that aborts never reads. GNU's and
/// LLVM's linkers can be told; whether this one can is tried.
fn leave_out_unwinding(out: &Path) {
    let is = |name: &str, value: &str| env::var_os(name).is_some_and(|found| found == value);
    if !is("PROFILE", "release") || !is("CARGO_CFG_TARGET_OS", "linux") {
        return;
    }
    let script = out.join("no-unwinding.ld");
    fs::write(&script, NO_UNWINDING).expect("the build's directory can be written");
    let arguments = [
        "-Wl,--no-eh-frame-hdr".to_owned(),
        format!("-Wl,-T,{}", script.display()),
    ];
    if can_link(out, &arguments) {
        for argument in arguments {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}

/// Whether a program of one line can be linked with these arguments.
fn can_link(out: &Path, arguments: &[String]) -> bool {
    let (source, program) = (out.join("probe.rs"), out.join("probe"));
    fs::write(&source, "fn main() {}\n").expect("the build's directory can be written");
    let variable = |name: &str| env::var_os(name).unwrap_or_default();
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.arg(&source).arg("-o").arg(&program);
    rustc.arg("--target").arg(variable("TARGET"));
    rustc.args(["-C", "panic=abort"]);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("linker=");
        option.push(linker);
        rustc.arg("-C").arg(option);
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    for argument in arguments {
        rustc.arg("-C").arg(format!("link-arg={argument}"));
    }
    rustc.stdout(Stdio::null()).stderr(Stdio::null());
    rustc.status().is_ok_and(|status| status.success())
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the page's folder can be read") {
        let path = entry.expect("the page's folder can be read").path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).expect("it lies below");
            let parts: Vec<_> = name.iter().map(|p| p.to_string_lossy()).collect();
            files.push(parts.join("/"));
        }
    }
}

/// FNV-1a: tells versions of one file apart, and nothing rests on more.
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn libc_reads_packed() -> bool {
    unsafe extern "C" {
        safe fn gnu_get_libc_version() -> *const std::ffi::c_char;
    }
    // SAFETY: glibc gives a static text that ends with a zero.
    let version = unsafe { std::ffi::CStr::from_ptr(gnu_get_libc_version()) };
    let version = version.to_str().unwrap_or_default();
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let (major, minor): (u32, u32) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    (major, minor) >= (2, 36)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn libc_reads_packed() -> bool {
    false
}
