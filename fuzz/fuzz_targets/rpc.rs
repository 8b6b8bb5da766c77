//! Calls on port 8300: bytes through the reader of messages, headers, and the arguments and results of every
//! method.

#![no_main]

use consul_lite::net::message::MessageReader;
use consul_lite::wire::rpc;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(header) = rpc::read_request_header(&mut rest) {
        let Ok(request) = rpc::read_request(&header, &mut rest) else {
            break;
        };
        let written = rpc::request(header.seq, &request).expect("what was read can be written");
        let mut again = &written[..];
        let header = rpc::read_request_header(&mut again).expect("and read again");
        assert!(rpc::read_request(&header, &mut again).is_ok());
    }
    let mut rest = bytes;
    let _ = rpc::read_response_header(&mut rest);
    smol::block_on(async {
        let mut reader = MessageReader::new(bytes);
        while let Ok(Some(message)) = reader.values(1, 1 << 20).await {
            let _ = consul_lite::wire::msgpack::decode(message);
        }
    });
});
