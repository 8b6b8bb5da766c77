//! What a real Consul 1.8.7 answered to wrong request bodies, against our structures.

use consul_lite::codec::Deserialize;
use consul_lite::structs::*;
use consul_lite::wire::json;

fn refused<T: Deserialize + Default>(name: &'static str, bodies: &[(&str, &str)]) {
    for (body, error) in bodies {
        let got = json::from_slice_strict::<T>(body.as_bytes(), name).map(drop);
        let got = got.err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(got, *error, "{body}");
    }
}

#[test]
fn service_definitions() {
    let bogus = "json: unknown field \"Bogus\"";
    refused::<ServiceDefinition>(
        "structs.ServiceDefinition",
        &[
            (
                r#"{"Port":"x"}"#,
                "json: cannot unmarshal string into Go struct field .Port of type int",
            ),
            (
                r#"{"Port":1.5}"#,
                "json: cannot unmarshal number 1.5 into Go struct field .Port of type int",
            ),
            (
                r#"{"Check":{"HTTP":1}}"#,
                "json: cannot unmarshal number into Go struct field .Check of type string",
            ),
            (
                r#"{"Checks":[{"HTTP":1}]}"#,
                "json: cannot unmarshal number into Go struct field .Checks of type string",
            ),
            (
                r#"{"Check":{"Header":{"a":"b"}}}"#,
                "json: cannot unmarshal string into Go struct field .Check of type []string",
            ),
            (
                r#"{"Weights":{"Passing":"x"}}"#,
                "json: cannot unmarshal string into Go struct field Weights.Weights.Passing of type int",
            ),
            (
                r#"{"Weights":1}"#,
                "json: cannot unmarshal number into Go struct field .Weights of type structs.Weights",
            ),
            (
                r#"{"Tags":"a"}"#,
                "json: cannot unmarshal string into Go struct field .Tags of type []string",
            ),
            (
                r#"{"Meta":{"a":1}}"#,
                "json: cannot unmarshal number into Go struct field .Meta of type string",
            ),
            (
                r#"{"Proxy":{"Config":1}}"#,
                "json: cannot unmarshal number into Go struct field .Proxy of type map[string]interface {}",
            ),
            (
                r#"{"Proxy":{"LocalServicePort":"x"}}"#,
                "json: cannot unmarshal string into Go struct field .Proxy of type int",
            ),
            (
                r#"{"Proxy":{"Upstreams":[{"LocalBindPort":"x"}]}}"#,
                "json: cannot unmarshal string into Go struct field .Proxy of type int",
            ),
            (
                r#"{"Connect":{"SidecarService":{"Port":"x"}}}"#,
                "json: cannot unmarshal string into Go struct field .Connect of type int",
            ),
            (
                r#"{"TaggedAddresses":{"lan":{"Port":"x"}}}"#,
                "json: cannot unmarshal string into Go struct field ServiceAddress.TaggedAddresses.Port of type int",
            ),
            (
                r#"{"Check":{"Interval":"x"}}"#,
                "time: invalid duration \"x\"",
            ),
            (r#"{"Check":{"Interval":[]}}"#, ""),
            (r#"{"Check":{"Timeout":true}}"#, ""),
            (r#"{"Bogus":1}"#, bogus),
            (r#"{"Check":{"Bogus":1}}"#, bogus),
            (r#"{"Proxy":{"Bogus":1}}"#, bogus),
            (r#"{"Proxy":{"Upstreams":[{"Bogus":1}]}}"#, bogus),
            (r#"{"Proxy":{"Expose":{"Bogus":1}}}"#, bogus),
            (r#"{"Weights":{"Bogus":1}}"#, bogus),
            (r#"{"Connect":{"Bogus":1}}"#, ""),
            (r#"{"Connect":{"SidecarService":{"Bogus":1}}}"#, bogus),
        ],
    );
}

#[test]
fn catalog_requests() {
    let bogus = "json: unknown field \"Bogus\"";
    refused::<RegisterRequest>(
        "structs.RegisterRequest",
        &[
            (
                "[]",
                "json: cannot unmarshal array into Go value of type structs.RegisterRequest",
            ),
            (
                r#"{"Node":1}"#,
                "json: cannot unmarshal number into Go struct field RegisterRequest.Node of type string",
            ),
            (
                r#"{"Token":1}"#,
                "json: cannot unmarshal number into Go struct field RegisterRequest.Token of type string",
            ),
            (
                r#"{"NodeMeta":3}"#,
                "json: cannot unmarshal number into Go struct field RegisterRequest.NodeMeta of type map[string]string",
            ),
            (
                r#"{"Service":{"Port":"x"}}"#,
                "json: cannot unmarshal string into Go struct field NodeService.Service.Port of type int",
            ),
            (
                r#"{"Service":{"Tags":{}}}"#,
                "json: cannot unmarshal object into Go struct field NodeService.Service.Tags of type []string",
            ),
            (
                r#"{"Service":{"Proxy":{"LocalServicePort":"x"}}}"#,
                "json: cannot unmarshal string into Go struct field NodeService.Service.Proxy of type int",
            ),
            (
                r#"{"Service":{"Connect":{"Native":"x"}}}"#,
                "json: cannot unmarshal string into Go struct field NodeService.Service.Connect of type bool",
            ),
            (
                r#"{"Service":{"Weights":{"Passing":"x"}}}"#,
                "json: cannot unmarshal string into Go struct field Weights.Service.Weights.Passing of type int",
            ),
            (
                r#"{"Check":{"Status":1}}"#,
                "json: cannot unmarshal number into Go struct field HealthCheck.Check.Status of type string",
            ),
            (
                r#"{"Check":{"Definition":{"HTTP":1}}}"#,
                "json: cannot unmarshal number into Go struct field HealthCheck.Check.Definition of type string",
            ),
            (
                r#"{"Service":[]}"#,
                "json: cannot unmarshal array into Go struct field RegisterRequest.Service of type structs.NodeService",
            ),
            (r#"{"Checks":[{"Definition":{"Interval":true}}]}"#, ""),
            (r#"{"Check":{"Definition":{"Bogus":1}}}"#, ""),
            (r#"{"Service":{"Connect":{"Bogus":"x"}}}"#, ""),
            (r#"{"Service":{"Proxy":{"Bogus":"x"}}}"#, bogus),
            (r#"{"Service":{"Bogus":"x"}}"#, bogus),
            (r#"{"Bogus":1}"#, bogus),
            (
                r#"{"WriteRequest":{"Token":"x"}}"#,
                "json: unknown field \"WriteRequest\"",
            ),
        ],
    );
    refused::<DeregisterRequest>(
        "structs.DeregisterRequest",
        &[
            (
                r#"{"Node":1}"#,
                "json: cannot unmarshal number into Go struct field .Node of type string",
            ),
            (r#"{"Bogus":1}"#, bogus),
        ],
    );
}

#[test]
fn sessions_and_the_rest() {
    refused::<Session>(
        "struct { LockDelay interface {}; *structs.Alias }",
        &[
            (
                "[]",
                "json: cannot unmarshal array into Go value of type struct { LockDelay interface {}; *structs.Alias }",
            ),
            (
                r#"{"Name":1}"#,
                "json: cannot unmarshal number into Go struct field .Name of type string",
            ),
            (
                r#"{"ServiceChecks":[{"ID":1}]}"#,
                "json: cannot unmarshal number into Go struct field ServiceCheck.ServiceChecks.ID of type string",
            ),
            (
                r#"{"NodeChecks":[1]}"#,
                "json: cannot unmarshal number into Go struct field .NodeChecks of type string",
            ),
            (r#"{"LockDelay":[]}"#, ""),
        ],
    );
    refused::<AutopilotConfig>(
        "api.AutopilotConfiguration",
        &[
            (
                "[]",
                "json: cannot unmarshal array into Go value of type api.AutopilotConfiguration",
            ),
            (
                r#"{"CleanupDeadServers":1}"#,
                "json: cannot unmarshal number into Go struct field AutopilotConfiguration.CleanupDeadServers of type bool",
            ),
            (
                r#"{"MaxTrailingLogs":-1}"#,
                "json: cannot unmarshal number -1 into Go struct field AutopilotConfiguration.MaxTrailingLogs of type uint64",
            ),
        ],
    );
    refused::<CoordinateUpdateRequest>(
        "structs.CoordinateUpdateRequest",
        &[
            (
                "[]",
                "json: cannot unmarshal array into Go value of type structs.CoordinateUpdateRequest",
            ),
            (
                r#"{"Node":1}"#,
                "json: cannot unmarshal number into Go struct field CoordinateUpdateRequest.Node of type string",
            ),
            (
                r#"{"Coord":{"Vec":1}}"#,
                "json: cannot unmarshal number into Go struct field Coordinate.Coord.Vec of type []float64",
            ),
            (
                r#"{"Coord":{"Vec":["x"]}}"#,
                "json: cannot unmarshal string into Go struct field Coordinate.Coord.Vec of type float64",
            ),
        ],
    );
}
