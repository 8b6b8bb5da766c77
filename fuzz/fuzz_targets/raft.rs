//! What servers say to each other: a Raft request or answer, to the structure and back to bytes.

#![no_main]

use consul_lite::raft::rpc;
use consul_lite::raft::{
    AppendEntries, Configuration, InstallSnapshot, Message, RequestPreVote, RequestVote, TimeoutNow,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some((kind, body)) = bytes.split_first()
        && let Ok(incoming) = rpc::decode_request(*kind, body)
    {
        let written = rpc::encode_request(&incoming.from, &incoming.message, incoming.size)
            .expect("what was read can be written");
        let again = rpc::decode_request(written[0], &written[1..]).expect("and read again");
        assert_eq!(again.message.with_seq(0), incoming.message.with_seq(0));
    }
    for request in [
        Message::AppendEntries(AppendEntries::default()),
        Message::RequestVote(RequestVote::default()),
        Message::InstallSnapshot(InstallSnapshot::default()),
        Message::TimeoutNow(TimeoutNow::default()),
        Message::RequestPreVote(RequestPreVote::default()),
    ] {
        let _ = rpc::decode_response(&request, bytes);
    }
    if let Ok(configuration) = Configuration::decode(bytes) {
        assert_eq!(
            Configuration::decode(&configuration.encode()),
            Ok(configuration)
        );
    }
});
