//! Sends one DNS question and writes the answer down as text, one line per fact, in an order that does
//! not depend on the server's shuffling. Messages by the `domain` crate (RFC 1035, RFC 6891).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use domain::base::iana::{Class, Opcode, OptRcode, Rtype};
use domain::base::opt::AllOptData;
use domain::base::{Message, MessageBuilder, Name, ParsedRecord, Record};
use domain::rdata::AllRecordData;

/// The answer as lines, and the message's size in octets.
pub struct Answer {
    /// Header, question, records by section, OPT.
    pub lines: Vec<String>,
    /// Octets of the message.
    pub size: usize,
}

/// Asks `server`; `words` are a name, a type and `+options` in dig's spelling.
pub fn ask(server: SocketAddr, words: &[String]) -> Result<Answer, String> {
    let option = |name: &str| {
        words.iter().find_map(|w| {
            let tail = w.strip_prefix('+')?.strip_prefix(name)?;
            match tail.strip_prefix('=') {
                Some(value) => Some(value.to_string()),
                None => tail.is_empty().then(String::new),
            }
        })
    };
    let query = match option("raw") {
        Some(hex) => unhex(&hex)?,
        None => build(words, &option)?,
    };
    let bytes = if option("tcp").is_some() {
        over_tcp(server, &query)
    } else {
        over_udp(server, &query, option("dropped").is_some())
    };
    match bytes {
        Ok(bytes) => Ok(Answer {
            lines: describe(&bytes)?,
            size: bytes.len(),
        }),
        Err(e) if option("dropped").is_some() => Ok(Answer {
            lines: vec![format!("no reply: {:?}", e.kind())],
            size: 0,
        }),
        Err(e) => Err(format!("no reply: {e}")),
    }
}

fn build(words: &[String], option: &dyn Fn(&str) -> Option<String>) -> Result<Vec<u8>, String> {
    let [name, rtype, ..] = words else {
        return Err("a question is NAME TYPE".into());
    };
    let name: Name<Vec<u8>> = name.parse().map_err(|e| format!("{name}: {e}"))?;
    let rtype: Rtype = rtype.parse().map_err(|_| format!("{rtype}: no type"))?;
    let class = match option("class").as_deref() {
        Some("CH") => Class::CH,
        Some("ANY") => Class::ANY,
        _ => Class::IN,
    };
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(0x1234);
    builder.header_mut().set_rd(option("nord").is_none());
    builder.header_mut().set_cd(option("cd").is_some());
    builder.header_mut().set_ad(option("ad").is_some());
    match option("opcode").as_deref() {
        Some("NOTIFY") => builder.header_mut().set_opcode(Opcode::NOTIFY),
        Some("UPDATE") => builder.header_mut().set_opcode(Opcode::UPDATE),
        Some("STATUS") => builder.header_mut().set_opcode(Opcode::STATUS),
        _ => {}
    }
    let mut questions = builder.question();
    questions
        .push((name, rtype, class))
        .map_err(|e| e.to_string())?;
    let mut additional = questions.additional();
    let subnet = option("subnet");
    let size = option("bufsize");
    if size.is_some() || subnet.is_some() || option("do").is_some() {
        let size: u16 = size.and_then(|s| s.parse().ok()).unwrap_or(1232);
        let version = option("edns").and_then(|v| v.parse().ok()).unwrap_or(0);
        additional
            .opt(|opt| {
                opt.set_udp_payload_size(size);
                opt.set_version(version);
                opt.set_dnssec_ok(option("do").is_some());
                opt.set_rcode(OptRcode::NOERROR);
                if let Some(subnet) = &subnet {
                    let (addr, bits) = subnet.split_once('/').unwrap_or((subnet, "24"));
                    let addr = addr.parse().unwrap_or([0, 0, 0, 0].into());
                    opt.client_subnet(bits.parse().unwrap_or(24), 0, addr)?;
                }
                Ok(())
            })
            .map_err(|e| e.to_string())?;
    }
    Ok(additional.finish())
}

const PATIENCE: Duration = Duration::from_secs(30);

fn over_udp(server: SocketAddr, query: &[u8], dropped: bool) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((server.ip(), 0))?;
    socket.connect(server)?;
    let patience = if dropped {
        Duration::from_millis(700)
    } else {
        PATIENCE
    };
    socket.set_read_timeout(Some(patience))?;
    socket.send(query)?;
    let mut buffer = vec![0; 65_536];
    let n = socket.recv(&mut buffer)?;
    buffer.truncate(n);
    Ok(buffer)
}

fn over_tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    stream.write_all(&framed)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut buffer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut buffer)?;
    Ok(buffer)
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    data_encoding::HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .map_err(|e| format!("{text}: {e}"))
}

fn describe(bytes: &[u8]) -> Result<Vec<String>, String> {
    let bad = |e: &dyn std::fmt::Display| format!("an answer that cannot be read: {e}");
    let message = Message::from_octets(bytes).map_err(|e| bad(&e))?;
    let h = message.header();
    let flags = [
        ("qr", h.qr()),
        ("aa", h.aa()),
        ("tc", h.tc()),
        ("rd", h.rd()),
        ("ra", h.ra()),
        ("ad", h.ad()),
        ("cd", h.cd()),
    ];
    let flags: Vec<&str> = flags.iter().filter(|f| f.1).map(|f| f.0).collect();
    let mut lines = vec![format!(
        "status {} opcode {} flags {} id {}",
        h.rcode(),
        h.opcode(),
        flags.join(" "),
        if h.id() == 0x1234 { "same" } else { "other" }
    )];
    for question in message.question() {
        let q = question.map_err(|e| bad(&e))?;
        lines.push(format!(
            "question {} {} {}",
            q.qname(),
            q.qclass(),
            q.qtype()
        ));
    }
    if h.rcode() == domain::base::iana::Rcode::FORMERR && bytes.len() == 12 {
        return Ok(lines);
    }
    let (_, answer, authority, additional) = message.sections().map_err(|e| bad(&e))?;
    for (name, section) in [
        ("answer", answer),
        ("authority", authority),
        ("additional", additional),
    ] {
        let mut part = Vec::new();
        for record in section {
            let record = record.map_err(|e| bad(&e))?;
            if record.rtype() == Rtype::OPT {
                continue;
            }
            part.push(format!("{name} {}", show(&record).map_err(|e| bad(&e))?));
        }
        part.sort();
        lines.append(&mut part);
    }
    if let Some(opt) = message.opt() {
        let mut options = Vec::new();
        for option in opt.opt().iter::<AllOptData<_, _>>() {
            match option {
                Ok(AllOptData::ClientSubnet(s)) => options.push(format!(
                    "subnet {}/{}/{}",
                    s.addr(),
                    s.source_prefix_len(),
                    s.scope_prefix_len()
                )),
                Ok(other) => options.push(format!("option {other:?}")),
                Err(e) => options.push(format!("bad option {e}")),
            }
        }
        lines.push(format!(
            "opt version {} do {} size {} {}",
            opt.version(),
            opt.dnssec_ok(),
            opt.udp_payload_size(),
            options.join(" ")
        ));
    }
    Ok(lines)
}

fn show(record: &ParsedRecord<'_, &[u8]>) -> Result<String, domain::base::wire::ParseError> {
    let full: Option<Record<_, AllRecordData<_, _>>> = record.to_record()?;
    let Some(full) = full else {
        return Ok(format!("{} {} ?", record.owner(), record.rtype()));
    };
    let data = match full.data() {
        // The serial is the current time.
        AllRecordData::Soa(soa) => format!(
            "{} {} <now> {} {} {} {}",
            soa.mname(),
            soa.rname(),
            soa.refresh().as_secs(),
            soa.retry().as_secs(),
            soa.expire().as_secs(),
            soa.minimum().as_secs()
        ),
        other => other.to_string(),
    };
    Ok(format!(
        "{} {} {} {} {data}",
        full.owner(),
        full.ttl().as_secs(),
        full.class(),
        full.rtype()
    ))
}

/// The lines with records replaced by how many there are per section, owner, TTL and type.
pub fn counted(lines: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut counts: Vec<(String, usize)> = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        if let [
            section @ ("answer" | "authority" | "additional"),
            owner,
            ttl,
            class,
            rtype,
            ..,
        ] = words[..]
        {
            // Owners in ADDITIONAL are the targets of whichever answers were chosen.
            let owner = if section == "additional" { "*" } else { owner };
            let key = format!("{section} {owner} {ttl} {class} {rtype}");
            match counts.iter_mut().find(|c| c.0 == key) {
                Some(count) => count.1 += 1,
                None => counts.push((key, 1)),
            }
        } else {
            out.push(line.clone());
        }
    }
    out.extend(counts.into_iter().map(|(key, n)| format!("{n} x {key}")));
    out
}
