//! What rules are about and how much they grant.
//!
//! Source: `docs/reference/http-1.md` sections 12.1 and 12.3.

/// What a rule grants. The order is Consul's precedence: of rules with the same name the greatest holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Look.
    Read,
    /// Look, and list keys where listing is guarded of its own.
    List,
    /// Everything.
    Write,
    /// Nothing.
    Deny,
}

impl Level {
    /// The level of a word, whatever its case.
    pub fn of(word: &str) -> Option<Level> {
        [
            ("read", Level::Read),
            ("list", Level::List),
            ("write", Level::Write),
            ("deny", Level::Deny),
        ]
        .into_iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name))
        .map(|(_, level)| level)
    }

    /// Whether it lets one look.
    pub fn reads(self) -> bool {
        self != Level::Deny
    }

    /// Whether it lets one list.
    pub fn lists(self) -> bool {
        matches!(self, Level::List | Level::Write)
    }

    /// Whether it lets one change.
    pub fn writes(self) -> bool {
        self == Level::Write
    }
}

/// Resources whose rules name what they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// An agent, by its node's name.
    Agent,
    /// Keys.
    Key,
    /// Nodes of the catalog.
    Node,
    /// Services of the catalog.
    Service,
    /// Sessions, by their node's name.
    Session,
    /// User events.
    Event,
    /// Prepared queries.
    Query,
    /// Intentions, by the service they lead to. No rule of its own: it follows from those of services.
    Intention,
}

impl Resource {
    /// Those with rules of their own, in the order in which Consul checks them.
    pub const RULED: [Resource; 7] = [
        Resource::Agent,
        Resource::Key,
        Resource::Node,
        Resource::Service,
        Resource::Session,
        Resource::Event,
        Resource::Query,
    ];
    /// How many there are.
    pub const COUNT: usize = 8;

    /// Its name in rules.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Agent => "agent",
            Resource::Key => "key",
            Resource::Node => "node",
            Resource::Service => "service",
            Resource::Session => "session",
            Resource::Event => "event",
            Resource::Query => "query",
            Resource::Intention => "intention",
        }
    }
}

/// Resources of which there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scalar {
    /// Tokens, policies and all that, and snapshots.
    Acl,
    /// The keys of encrypted gossip.
    Keyring,
    /// The cluster itself.
    Operator,
}

impl Scalar {
    /// All of them.
    pub const ALL: [Scalar; 3] = [Scalar::Acl, Scalar::Keyring, Scalar::Operator];

    /// Its name in rules.
    pub fn name(self) -> &'static str {
        match self {
            Scalar::Acl => "acl",
            Scalar::Keyring => "keyring",
            Scalar::Operator => "operator",
        }
    }
}
