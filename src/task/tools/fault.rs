//! What can be wrong with a call.

/// What is wrong with a reply, the first rung that broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No call in the reply.
    NoCall,
    /// What looks like a call is not JSON.
    BadJson,
    /// A tool that was not offered.
    UnknownTool,
    /// A required or asked-for argument is missing.
    Missing,
    /// An argument that the schema does not have, or that was not asked for.
    Extra,
    /// An argument of another JSON type; for integers also a number written with a fraction or exponent.
    Type,
    /// A value that is not one of those listed.
    Enum,
    /// Another value.
    Value,
    /// A tool that was offered, but not the right one.
    WrongTool,
    /// More calls than asked for.
    ExtraCall,
    /// One of several calls that were asked for is not there.
    MissingCall,
    /// The output budget ran out before a call was complete.
    Truncated,
    /// The call is in the text, where the server's parser left it.
    LeakedToContent,
    /// Nobody can tell by the schema (see [`schema_check`](super::ladder::schema_check)). Never why a reply scores 0.
    OverLimit,
}

impl Fault {
    /// Those that can be wrong with one of several calls.
    pub const OF_A_CALL: &[Self] = &[
        Self::UnknownTool,
        Self::Missing,
        Self::Extra,
        Self::Type,
        Self::Enum,
        Self::Value,
        Self::WrongTool,
        Self::MissingCall,
    ];

    /// The label in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoCall => "no_call",
            Self::BadJson => "bad_json",
            Self::UnknownTool => "unknown_tool",
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Type => "type",
            Self::Enum => "enum",
            Self::Value => "value",
            Self::WrongTool => "wrong_tool",
            Self::ExtraCall => "extra_call",
            Self::MissingCall => "missing_call",
            Self::Truncated => "truncated",
            Self::LeakedToContent => "leaked_to_content",
            Self::OverLimit => "over_limit",
        }
    }
}
