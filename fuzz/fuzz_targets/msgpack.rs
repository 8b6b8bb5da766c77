//! RPC and Raft payloads: successive msgpack values to structures and back to bytes.

#![no_main]

use consul_lite::structs::go::Any;
use consul_lite::structs::{IndexedNodeDump, KVSRequest, RegisterRequest, TxnRequest};
use consul_lite::wire::msgpack;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok((value, after)) = msgpack::decode(rest) {
        let written = msgpack::to_vec(&value).expect("what was read can be written");
        assert!(msgpack::decode(&written).is_ok_and(|(_, after)| after.is_empty()));
        if let Ok(request) = msgpack::from_value::<RegisterRequest>(&value) {
            let written = msgpack::to_vec(&request);
            let again = written.and_then(|b| msgpack::from_slice::<RegisterRequest>(&b));
            assert!(again.is_ok());
        }
        let _ = msgpack::from_value::<KVSRequest>(&value);
        let _ = msgpack::from_value::<TxnRequest>(&value);
        let _ = msgpack::from_value::<IndexedNodeDump>(&value);
        let _ = msgpack::from_value::<Any>(&value);
        rest = after;
    }
});
