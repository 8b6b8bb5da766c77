//! Templates with the results Consul 1.8.7 gave on a machine with these interfaces.

use super::*;

fn machine() -> Vec<Interface> {
    let one = |name: &str, ip: &str, prefix: u8| Interface {
        name: name.to_owned(),
        ip: ip.parse().expect("an address"),
        prefix,
        up: true,
        broadcast: name != "lo",
        loopback: name == "lo",
        point_to_point: false,
        multicast: name != "lo",
        default_route: name == "eth0",
    };
    vec![
        one("lo", "127.0.0.1", 8),
        one("lo", "::1", 128),
        one("eth0", "192.0.2.2", 24),
        one("eth0", "fd00::2", 64),
        one("eth0", "fe80::fc:ff:fe00:1", 64),
    ]
}

#[test]
fn results() {
    for (template, want) in [
        ("127.0.0.1", "127.0.0.1"),
        ("{{ GetPrivateIP }}", "fd00::2"),
        ("{{ GetPublicIPs }}", ""),
        ("a{{ GetInterfaceIP \"eth0\" }}b", "afd00::2b"),
        ("{{ GetInterfaceIP \"nosuch\" }}", ""),
        (
            "{{ GetInterfaceIPs \"eth0\" }}",
            "192.0.2.2 fd00::2 fe80::fc:ff:fe00:1",
        ),
        (
            "{{ GetAllInterfaces | include \"flags\" \"forwardable\" | join \"address\" \",\" }}",
            "fd00::2",
        ),
        (
            "{{ GetAllInterfaces | sort \"-address\" | join \"address\" \",\" }}",
            "127.0.0.1,::1,192.0.2.2,fe80::fc:ff:fe00:1,fd00::2",
        ),
        (
            "{{ GetAllInterfaces | sort \"default\" | join \"address\" \",\" }}",
            "192.0.2.2,fd00::2,fe80::fc:ff:fe00:1,127.0.0.1,::1",
        ),
        (
            "{{ GetAllInterfaces | sort \"default,-type,size,+address\" | join \"address\" \",\" }}",
            "fd00::2,fe80::fc:ff:fe00:1,192.0.2.2,::1,127.0.0.1",
        ),
        (
            "{{ GetAllInterfaces | sort \"size\" | join \"address\" \",\" }}",
            "127.0.0.1,::1,192.0.2.2,fd00::2,fe80::fc:ff:fe00:1",
        ),
        (
            "{{GetAllInterfaces|unique \"name\"|join \"address\" \",\"}}",
            "127.0.0.1,192.0.2.2",
        ),
        (
            "{{ GetAllInterfaces | include \"network\" \"192.0.0.0/16|fd00::/8\" | join \"address\" \",\" }}",
            "192.0.2.2,fd00::2",
        ),
        (
            "{{ GetAllInterfaces | include \"type\" \"ipv4\" | math \"network\" \"+3\" | join \"address\" \",\" }}",
            "127.0.0.3,192.0.2.3",
        ),
        (
            "{{ GetAllInterfaces | include \"type\" \"ipv4\" | math \"network\" \"-3\" | join \"address\" \",\" }}",
            "127.255.255.253,192.0.2.253",
        ),
        (
            "{{ GetAllInterfaces | include \"name\" \"eth0\" | math \"address\" \"+1\" | join \"address\" \",\" }}",
            "192.0.2.3,fd00::3,fe80::fc:ff:fe00:2",
        ),
        (
            "{{ GetAllInterfaces | include \"type\" \"ipv6\" | join \"last_usable\" \",\" }}",
            "::1,fd00::ffff:ffff:ffff:ffff,fe80::ffff:ffff:ffff:ffff",
        ),
        (
            "{{ GetAllInterfaces | include \"type\" \"ipv6\" | join \"netmask\" \" \" }}",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:: ffff:ffff:ffff:ffff::",
        ),
        (
            "{{ GetAllInterfaces | include \"type\" \"ipv6\" | join \"size\" \",\" }}",
            "1,18446744073709551616,18446744073709551616",
        ),
        (
            "{{ GetAllInterfaces | offset -1 | join \"address\" \",\" }}",
            "fe80::fc:ff:fe00:1",
        ),
        (
            "{{ GetAllInterfaces | limit 1 | attr \"flags\" }}",
            "up|loopback",
        ),
        (
            "{{ GetAllInterfaces | include \"flag\" \"global unicast\" | join \"address\" \",\" }}",
            "192.0.2.2,fd00::2",
        ),
        (
            "{{ attr \"name\" GetAllInterfaces }}{{ (GetAllInterfaces | attr \"name\") }}",
            "lolo",
        ),
        ("a {{- \" b \" -}} c{{/* no */}}", "a b c"),
        ("{{ \"eth0\" | GetInterfaceIP }}", "fd00::2"),
        ("a}}", "a}}"),
    ] {
        assert_eq!(
            parse(template, &machine()).as_deref(),
            Ok(want),
            "{template}"
        );
    }
    let eth = |attr: &str| {
        let template = format!(
            "{{{{ GetAllInterfaces | include \"type\" \"ipv4\" | sort \"name\" | attr \"{attr}\" }}}}"
        );
        parse(&template, &machine()).expect("valid template")
    };
    for (attr, want) in [
        ("name", "eth0"),
        ("size", "256"),
        ("netmask", "255.255.255.0"),
        ("network", "192.0.2.0"),
        ("mask_bits", "24"),
        ("first_usable", "192.0.2.1"),
        ("last_usable", "192.0.2.254"),
        ("host", "192.0.2.2"),
        ("broadcast", "192.0.2.255"),
        ("octets", "192 0 2 2"),
        ("binary", "11000000000000000000001000000010"),
        ("hex", "c0000202"),
        ("uint32", "3221225986"),
        ("flags", "up|broadcast|multicast"),
        ("type", "IPv4"),
        ("string", "192.0.2.2/24"),
    ] {
        assert_eq!(eth(attr), want, "{attr}");
    }
}

#[test]
fn errors() {
    for (template, want) in [
        (
            "{{ env \"HOME\" }}",
            "unable to parse template \"{{ env \\\"HOME\\\" }}\": template: sockaddr.Parse:1: \
            function \"env\" not defined",
        ),
        (
            "{{ GetPrivateIP",
            "unable to parse template \"{{ GetPrivateIP\": template: sockaddr.Parse:1: unclosed action",
        ),
        (
            "{{ GetPrivateIP }",
            "unable to parse template \"{{ GetPrivateIP }\": template: sockaddr.Parse:1: unexpected \
            \"}\" in operand",
        ),
        (
            "{{ }}",
            "unable to parse template \"{{ }}\": template: sockaddr.Parse:1: missing value for command",
        ),
        (
            "{{ GetInterfaceIP }}",
            "unable to execute sockaddr input \"{{ GetInterfaceIP }}\": template: \
            sockaddr.Parse:1:3: executing \"sockaddr.Parse\" at <GetInterfaceIP>: wrong number of args for \
            GetInterfaceIP: want 1 got 0",
        ),
        (
            "{{ GetInterfaceIP 1 }}",
            "unable to execute sockaddr input \"{{ GetInterfaceIP 1 }}\": template: \
            sockaddr.Parse:1:18: executing \"sockaddr.Parse\" at <1>: expected string; found 1",
        ),
        (
            "{{ GetAllInterfaces | attr \"bogus\" }}",
            "unable to execute sockaddr input \"{{ GetAllInterfaces | attr \
            \\\"bogus\\\" }}\": template: sockaddr.Parse:1:22: executing \"sockaddr.Parse\" at <attr \"bogus\">: error \
            calling attr: unsupported attribute name \"bogus\"",
        ),
        (
            "{{ GetAllInterfaces | sort \"bogus\" }}",
            "unable to execute sockaddr input \"{{ GetAllInterfaces | sort \
            \\\"bogus\\\" }}\": template: sockaddr.Parse:1:22: executing \"sockaddr.Parse\" at <sort \"bogus\">: error \
            calling sort: unknown sort type: \"bogus\"",
        ),
    ] {
        assert_eq!(parse(template, &machine()).err().as_deref(), Some(want));
    }
    assert!(parse(&"{{ (".repeat(10), &machine()).is_err());
    assert!(parse(&format!("{{{{ {}", "(".repeat(60_000)), &machine()).is_err());
}
