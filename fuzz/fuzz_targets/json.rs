//! Request bodies: JSON text to a value, to structures strict and lenient, and back to text.

#![no_main]

use consul_lite::structs::{RegisterRequest, ServiceDefinition, TxnOp};
use consul_lite::wire::json;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let Ok((value, _)) = json::decode(text) else {
        return;
    };
    let written = json::to_vec(&value).expect("what was read can be written");
    let again = json::decode_whole(&written).expect("what was written can be read");
    // A float of -0 is the integer 0 when it is read again.
    let twice = json::to_vec(&again).expect("and written again");
    let thrice = json::decode_whole(&twice).and_then(|v| json::to_vec(&v));
    assert_eq!(thrice, Ok(twice));
    assert_eq!(json::decode_whole(&json::pretty(&written)), Ok(again));
    let _ = json::from_slice_lenient::<ServiceDefinition>(text);
    let _ = json::from_slice_strict::<RegisterRequest>(text, "structs.RegisterRequest");
    let _ = json::from_slice_strict::<Vec<TxnOp>>(text, "api.TxnOps");
});
