//! One question to an agent's DNS.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// How many answers there are for the addresses of a name.
pub fn addresses(server: SocketAddr, name: &str) -> std::io::Result<usize> {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind((server.ip(), 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.send_to(&message, server)?;
    let mut answer = [0; 1500];
    let (length, _) = socket.recv_from(&mut answer)?;
    assert!(length >= 12, "an answer without a head");
    Ok(usize::from(u16::from_be_bytes([answer[6], answer[7]])))
}
