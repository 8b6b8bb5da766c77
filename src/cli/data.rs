//! Arguments that are data: given as they are, in a file (`@file`), or on stdin (`-`).

use std::fs;
use std::io::Read;

use crate::net::dial::errno_text;

/// The data an argument means.
///
/// # Errors
/// Consul's text when it cannot be read.
pub fn load(argument: &str) -> Result<Vec<u8>, String> {
    match argument.strip_prefix('@') {
        Some(file) => fs::read(file)
            .map_err(|e| format!("Failed to read file: open {file}: {}", errno_text(&e))),
        None if argument == "-" => {
            let mut data = Vec::new();
            std::io::stdin()
                .read_to_end(&mut data)
                .map_err(|e| format!("Failed to read stdin: {}", errno_text(&e)))?;
            Ok(data)
        }
        None => Ok(argument.as_bytes().to_vec()),
    }
}
