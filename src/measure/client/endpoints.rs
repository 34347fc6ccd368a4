//! Where a server's HTTP interface has what.

/// Paths of a server's HTTP interface; `None` where it has no such thing.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints {
    /// Answers 200 when the model is loaded.
    pub health: &'static str,
    /// OpenAI-style chat completions.
    pub chat: &'static str,
    /// Completions from text or token arrays, with token probabilities.
    pub completion: Option<&'static str>,
    /// Completions that list the probabilities of the prompt's own tokens in one go (`prompt_logprobs`).
    pub prompt_logprobs: Option<&'static str>,
    /// Text to tokens.
    pub tokenize: Option<&'static str>,
    /// Messages to the rendered prompt.
    pub apply_template: Option<&'static str>,
    /// Settings in force.
    pub props: Option<&'static str>,
    /// Prometheus metrics.
    pub metrics: Option<&'static str>,
}

impl Endpoints {
    /// Paths of a server that has nothing but OpenAI's interface; engines name what they have beside.
    pub const OPENAI: Self = Self {
        health: "/v1/models",
        chat: "/v1/chat/completions",
        completion: None,
        prompt_logprobs: None,
        tokenize: None,
        apply_template: None,
        props: Some("/v1/models"),
        metrics: None,
    };
}
