//! A forced answer behind a prompt whose tokens are known here: llama.cpp's `/completion` takes them as they are, so the server
//! need not render and tokenise a long text again for every question to it (22 ms at 16,000 tokens), and the answer can be
//! asked for in two pieces: where its beginning is next to impossible, the rest is not asked for.

use super::chat::figures_in_one_piece;
use super::completion::{self, Asked, Completion};
use super::connection::Client;
use super::exchange::Failure;
use super::forced::{ForcedExchange, ToldToken, ends, refused, token};
use super::listed::FORCED_TOP;
use super::wire::token_by_token;
use crate::record::{Forced, ForcedForm, ForcedToken};

/// Tokens of an answer that are asked for first. At one chance in ten for each the answer is next to impossible behind them.
const FIRST: usize = 5;

/// An answer that is being said.
struct Saying<'a> {
    client: &'a Client,
    path: &'static str,
    /// The prompt, and what was said behind it.
    tokens: Vec<u32>,
    /// Whether the server's cache may hold the beginning of it.
    reuse_cache: bool,
    exchange: ForcedExchange,
}

impl Client {
    /// How probable the model finds `form` as what the reply says next, behind a prompt of these tokens.
    ///
    /// # Errors
    /// As [`Client::force`].
    pub(super) async fn force_by_tokens(
        &self,
        (path, prompt): (&'static str, Vec<u32>),
        form: &ForcedForm,
        reuse_cache: bool,
    ) -> Result<ForcedExchange, Failure> {
        let exchange =
            ForcedExchange { forced: Forced::default(), measurements: Vec::new(), last: Vec::new() };
        let mut saying = Saying { client: self, path, tokens: prompt, reuse_cache, exchange };
        // The end is asked for with the last token: to cut one or two off saves nothing.
        let first = if form.tokens.len() > FIRST + 1 { FIRST } else { form.tokens.len() };
        let (first, rest) = form.tokens.split_at(first);
        let mut ends = saying.say(first, rest.is_empty()).await?;
        if !rest.is_empty() {
            if saying.exchange.forced.is_impossible() {
                saying.exchange.forced.cut = true;
                return Ok(saying.exchange);
            }
            ends = saying.say(rest, true).await?;
        }
        if ends.is_none() {
            ends = saying.end().await?;
        }
        saying.exchange.forced.ends = ends;
        Ok(saying.exchange)
    }
}

impl Saying<'_> {
    /// Says these tokens; with the `last` ones, how probable it is that the reply ends behind them, where the server tells.
    async fn say(&mut self, wanted: &[u32], last: bool) -> Result<Option<f64>, Failure> {
        let grammar = token_by_token(wanted);
        let completion = self.ask(wanted.len() + usize::from(last), Some(&grammar)).await?;
        let said: Result<Vec<ToldToken>, String> =
            completion.said.iter().take(wanted.len()).map(token).collect();
        let said = said.map_err(Failure::unsupported)?;
        if !said.iter().map(|token| token.id).eq(wanted.iter().map(|id| Some(*id))) {
            return Err(Failure::unsupported("the server said other tokens than it was made to say"));
        }
        for (token, &id) in said.iter().zip(wanted) {
            let known = match token.known() {
                Some(known) => known,
                None => self.alone(id).await?,
            };
            self.exchange.forced.tokens.push(known);
            self.tokens.push(id);
        }
        Ok(completion.said.get(wanted.len()).filter(|_| last).and_then(ends))
    }

    /// The probability of one token that an accepted draft left out.
    async fn alone(&mut self, id: u32) -> Result<ForcedToken, Failure> {
        let completion = self.ask(1, Some(&token_by_token(&[id]))).await?;
        let told = completion.said.first().map(token).transpose().map_err(Failure::unsupported)?;
        let told = told.filter(|told| told.id == Some(id)).and_then(|told| told.known());
        told.ok_or_else(|| {
            Failure::unsupported("a token of the forced answer has no probability, asked alone neither")
        })
    }

    /// How probable it is that the reply ends here.
    async fn end(&mut self) -> Result<Option<f64>, Failure> {
        Ok(self.ask(1, None).await?.said.first().and_then(ends))
    }

    async fn ask(&mut self, steps: usize, grammar: Option<&str>) -> Result<Completion, Failure> {
        let asked = Asked {
            model: self.client.writer.model.as_deref(),
            prompt: &self.tokens,
            steps,
            top: FORCED_TOP as usize,
            grammar,
            cold: !self.reuse_cache && self.exchange.last.is_empty(),
        };
        let (answer, completion) =
            completion::ask(&self.client.http, self.path, asked).await.map_err(refused)?;
        self.exchange.measurements.push(figures_in_one_piece(answer.total).collect());
        self.exchange.last.push(completion.as_of_a_chat());
        Ok(completion)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::measure::client::{Conversation, Limits, PromptTokens};
    use crate::measure::mock::{self, ENDPOINTS, Script};
    use crate::record::{Message, Tool};

    /// A prompt of one token for each character of what is asked.
    #[derive(Debug)]
    struct Characters;

    impl PromptTokens for Characters {
        fn of_chat(&self, messages: &[Message], _tools: &[Tool]) -> Option<Vec<u32>> {
            Some(messages[0].content.chars().map(u32::from).collect())
        }
    }

    fn force(asked: &str, form: &[u32], script: Script) -> Result<ForcedExchange, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(mock::serve(listener, script, std::future::pending()));
            let client = Client::new(&url, ENDPOINTS, Limits::default()).unwrap();
            let client = client.with_own_tokens(Some(std::sync::Arc::new(Characters)));
            let messages = [Message::user(asked)];
            let form = ForcedForm { text: " two three".into(), tokens: form.to_vec() };
            client.force(&Conversation::of(&messages), &form, 40).await
        })
    }

    const FORM: [u32; 8] = [3, 1, 4, 1, 5, 9, 2, 6];

    fn ids(forced: &Forced) -> Vec<u32> {
        forced.tokens.iter().filter_map(|token| token.id).collect()
    }

    #[test]
    fn an_answer_is_asked_for_in_two_pieces_and_not_to_its_end_where_it_is_impossible() {
        let (mut whole, mut cut) = (0, 0);
        for asked in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let exchange = force(asked, &FORM, Script::default()).unwrap();
            let forced = &exchange.forced;
            assert_eq!(
                forced.cut,
                forced.is_impossible() && forced.tokens.len() == FIRST,
                "{asked}: {forced:?}"
            );
            if forced.cut {
                cut += 1;
                assert_eq!((ids(forced), forced.ends), (FORM[..FIRST].to_vec(), None));
                assert_eq!(exchange.last.len(), 1);
            } else {
                whole += 1;
                assert_eq!((ids(forced), forced.ends.is_some()), (FORM.to_vec(), true));
                assert_eq!(exchange.last.len(), 2);
            }
            assert_eq!(
                (exchange.last.len(), exchange.last[0]["usage"]["prompt_tokens"].as_u64()),
                (exchange.measurements.len(), Some(1))
            );
        }
        assert!(whole > 0 && cut > 0, "{whole} and {cut}");
    }

    #[test]
    fn a_short_answer_is_one_request() {
        let exchange = force("a", &FORM[..FIRST + 1], Script::default()).unwrap();
        assert_eq!(
            (exchange.last.len(), ids(&exchange.forced).len(), exchange.forced.cut),
            (1, FIRST + 1, false)
        );
    }

    #[test]
    fn the_pieces_say_what_the_whole_says() {
        // One token at a time, each behind those before it: what the model finds probable does not depend on the pieces.
        let pieces = force("a", &FORM, Script::default()).unwrap().forced;
        for (at, token) in pieces.tokens.iter().enumerate() {
            let asked: String = FORM[..at].iter().fold("a".to_owned(), |mut asked, id| {
                asked.push(char::from_u32(*id).unwrap());
                asked
            });
            let alone = force(&asked, &FORM[at..=at], Script::default()).unwrap().forced;
            assert_eq!(alone.tokens[0], *token, "token {at}");
        }
    }

    #[test]
    fn a_server_that_takes_no_grammar_of_tokens_is_told_the_text() {
        let forced = force("a", &FORM, Script { token_grammars: false, ..Script::default() }).unwrap().forced;
        assert_eq!((forced.cut, forced.tokens.len()), (false, 2), "the mock's own tokens of ` two three`");
    }
}
