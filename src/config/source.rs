//! Where configuration comes from: files, directories and flags, read and merged in Consul's order.
//!
//! Source: `docs/reference/config.md` section 1; texts observed on Consul 1.8.7.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::agent::{dev_mode, list_flags, other_flags};
use super::decode::{Format, decode};
use super::flags::Parsed;
use super::schema::ROOT;
use super::tree::{Tree, merge};
use crate::sorted;
use crate::wire::{hcl, json};

/// The longest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// The most files of a directory.
const MAX_FILES: usize = 10_000;

/// Everything that was configured, merged, and what is worth a warning.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub tree: Tree,
    pub warnings: Vec<String>,
}

impl Sources {
    /// Reads what flags say and name.
    ///
    /// # Errors
    /// Consul's text for a file that cannot be read or is wrong.
    pub fn from_flags(parsed: &Parsed) -> Result<Self, String> {
        let format = format_of_flag(parsed.string("config-format"))?;
        let mut sources = Self::default();
        if parsed.bool("dev") {
            sources.add(dev_mode());
        }
        sources.add(list_flags(parsed));
        for (_, path) in parsed
            .given()
            .filter(|(name, _)| matches!(*name, "config-file" | "config-dir"))
        {
            sources.path(Path::new(path), format)?;
        }
        sources.add(other_flags(parsed));
        for (at, text) in parsed.list("hcl").into_iter().enumerate() {
            sources.text(text.as_bytes(), Format::Hcl, &format!("flags-{at}.hcl"))?;
        }
        Ok(sources)
    }

    /// Reads files and directories, as `validate` is given them.
    ///
    /// # Errors
    /// As [`Sources::from_flags`].
    pub fn from_paths<P: AsRef<Path>>(paths: &[P], format: Option<Format>) -> Result<Self, String> {
        let mut sources = Self::default();
        for path in paths {
            sources.path(path.as_ref(), format)?;
        }
        Ok(sources)
    }

    fn add(&mut self, tree: Tree) {
        merge(&mut self.tree, tree, ROOT);
    }

    /// Reads a file, or the files of a directory in the order of their names.
    fn path(&mut self, path: &Path, format: Option<Format>) -> Result<(), String> {
        let shown = path.display();
        let failed = |call: &str, error: &io::Error| {
            format!(
                "config: {call} failed on {shown}. {}",
                go_error("open", path, error)
            )
        };
        let data = fs::metadata(path).map_err(|error| failed("Open", &error))?;
        if !data.is_dir() {
            return self.file(path, format);
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(|error| failed("Readdir", &error))? {
            names.push(
                entry
                    .map_err(|error| failed("Readdir", &error))?
                    .file_name(),
            );
            if names.len() > MAX_FILES {
                return Err(format!("config: {shown} holds more than {MAX_FILES} files"));
            }
        }
        sorted::sort(&mut names);
        for name in names {
            // Shown as Go shows it: without the dot.
            let file = path.strip_prefix(".").unwrap_or(path).join(name);
            let data = fs::metadata(&file).map_err(|error| go_error("lstat", &file, &error))?;
            if data.is_file() {
                self.file(&file, format)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, format: Option<Format>) -> Result<(), String> {
        let shown = path.display().to_string();
        let by_name = || match path.extension().and_then(|ending| ending.to_str()) {
            Some("hcl") => Some(Format::Hcl),
            Some("json") => Some(Format::Json),
            _ => None,
        };
        let Some(format) = format.or_else(by_name) else {
            self.warnings.push(format!(
                "skipping file {shown}, extension must be .hcl or .json, or config format must be set"
            ));
            return Ok(());
        };
        let failed = |error: io::Error| {
            format!(
                "config: ReadFile failed on {shown}: {}",
                go_error("open", path, &error)
            )
        };
        let mut text = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(failed)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(format!(
                "config: {shown} is longer than {MAX_FILE_BYTES} bytes"
            ));
        }
        self.text(&text, format, &shown)
    }

    /// Reads one text. Its single service and check come after those it lists.
    fn text(&mut self, text: &[u8], format: Format, name: &str) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        let tree =
            parse(text, format).map_err(|error| format!("failed to parse {name}: {error}"))?;
        let mut tree = tree;
        for (single, list) in [("check", "checks"), ("service", "services")] {
            if let Some(one) = tree.take(single) {
                tree.append(list, one);
            }
        }
        self.add(tree);
        Ok(())
    }
}

fn parse(text: &[u8], format: Format) -> Result<Tree, String> {
    let value = match format {
        Format::Hcl => hcl::decode(text).map_err(|error| error.to_string())?,
        Format::Json => json::decode_whole(text).map_err(|error| error.to_string())?,
    };
    use crate::wire::Value;
    let kind = match value {
        Value::Map(_) => return decode(&value, format),
        Value::Nil => return Ok(Tree::default()),
        Value::Array(_) => "array",
        Value::Str(_) => "string",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Uint(_) | Value::F32(_) | Value::F64(_) => "number",
    };
    Err(format!(
        "json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    ))
}

fn format_of_flag(flag: &str) -> Result<Option<Format>, String> {
    match flag {
        "" => Ok(None),
        "hcl" => Ok(Some(Format::Hcl)),
        "json" => Ok(Some(Format::Json)),
        _ => Err("config: -config-format must be either 'hcl' or 'json'".to_owned()),
    }
}

/// An error of the system in Go's form: `open /x: no such file or directory`.
pub(super) fn go_error(call: &str, path: &Path, error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    let lower: String = chars
        .next()
        .map(|c| c.to_ascii_lowercase())
        .into_iter()
        .chain(chars)
        .collect();
    format!("{call} {}: {lower}", path.display())
}
