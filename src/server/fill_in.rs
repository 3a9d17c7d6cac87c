//! Prompts that ask for the text between two others, in llama-server's order (`format_prompt_infill`):
//!
//! ```text
//! [repository]myproject⏎ ([file]name⏎text)… [file]filename⏎ [bos][prefix]before prompt[suffix]after[middle]
//! ```
//!
//! or with the suffix first. Where there is too much, what is nearest to the gap stays.

use crate::llama::Token;
use crate::llama::fill_in::FillIn;
use crate::server::error::Error;

/// Which of the two texts the model is given first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    PrefixFirst,
    SuffixFirst,
}

/// The tokens that a model has for it.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    prefix: Token,
    suffix: Token,
    middle: Token,
    repository: Option<Token>,
    file: Option<Token>,
    bos: Option<Token>,
    order: Order,
}

/// How many tokens there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// For the prompt.
    n_all: usize,
    /// Of them for the two texts next to the gap and what the answer begins with.
    n_near: usize,
}

impl Room {
    /// llama-server's batch, in which it makes the texts next to the gap fit.
    const N_NEAR: usize = 2048;
    /// Marks around them.
    const N_MARKS: usize = 4;
    /// A share of the context for an answer whose length nobody says.
    const ANSWER: usize = 4;

    pub fn new(n_ctx: usize, n_predict: Option<usize>) -> Self {
        let n_answer = n_predict.unwrap_or(n_ctx / Self::ANSWER).min(n_ctx / 2);
        let n_all = n_ctx.saturating_sub(n_answer + Self::N_MARKS);
        Self { n_all, n_near: n_all.min(Self::N_NEAR) }
    }
}

/// What is written around other files, in tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Around {
    repository: Vec<Token>,
    file: Vec<Token>,
    snippet: Vec<Token>,
}

impl Gap {
    /// Nothing where the model has not been taught to fill in.
    pub fn of(tokens: &FillIn, bos: Option<Token>, order: Order) -> Option<Self> {
        let FillIn { prefix, suffix, middle, repository, file, .. } = *tokens;
        Some(Self { prefix: prefix?, suffix: suffix?, middle: middle?, repository, file, bos, order })
    }

    /// The names and lines that llama-server writes around other files.
    pub fn around(&self, tokens: &dyn Fn(&str) -> Result<Vec<Token>, Error>) -> Result<Around, Error> {
        let if_known = |token: Option<Token>, text| token.map_or(Ok(Vec::new()), |_| tokens(text));
        Ok(Around {
            repository: if_known(self.repository, "myproject\n")?,
            file: if_known(self.file, "filename\n")?,
            snippet: if self.file.is_none() { tokens("\n\n--- snippet ---\n\n")? } else { Vec::new() },
        })
    }

    /// The prompt. `extra`: names and texts of other files.
    pub fn prompt(
        &self,
        room: Room,
        around: &Around,
        extra: &[(Vec<Token>, Vec<Token>)],
        mut before: Vec<Token>,
        mut after: Vec<Token>,
        prompt: &[Token],
    ) -> Vec<Token> {
        let mut others = Vec::new();
        let mut add = |mark: Option<Token>, text: &[Token]| {
            others.extend(mark);
            others.extend_from_slice(text);
        };
        add(self.repository, &around.repository);
        for (name, text) in extra {
            add(self.file, if self.file.is_some() { name } else { &around.snippet });
            add(None, text);
        }
        add(self.file, &around.file);
        // Three quarters of the room are for what comes before, if the prompt leaves so much.
        let n_before = (3 * (room.n_near / 4)).min(room.n_near.saturating_sub(2 + prompt.len()));
        before.drain(..before.len().saturating_sub(n_before));
        after.truncate((room.n_near / 4).saturating_sub(2 + prompt.len()));
        let n_near = before.len() + prompt.len() + after.len();
        others.drain(..others.len().saturating_sub(room.n_all.saturating_sub(n_near)));
        let before = [&[self.prefix][..], &before, prompt].concat();
        let after = [&[self.suffix][..], &after].concat();
        let (first, second) = match self.order {
            Order::PrefixFirst => (before, after),
            Order::SuffixFirst => (after, before),
        };
        let bos: Vec<_> = self.bos.into_iter().collect();
        [others, bos, first, second, vec![self.middle]].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: FillIn =
        FillIn { prefix: Some(1), suffix: Some(2), middle: Some(3), pad: None, repository: Some(4), file: Some(5) };

    fn around() -> Around {
        Around { repository: vec![40], file: vec![50], snippet: vec![60] }
    }

    fn prompt(tokens: &FillIn, bos: Option<Token>, order: Order, room: Room, around: &Around) -> Vec<Token> {
        let gap = Gap::of(tokens, bos, order).expect("tokens");
        gap.prompt(room, around, &[(vec![51], vec![52, 53])], vec![10, 11], vec![20, 21], &[12])
    }

    #[test]
    fn the_order_is_llama_servers() {
        let room = Room::new(4096, Some(64));
        let inner = [0, 1, 10, 11, 12, 2, 20, 21, 3];
        let all = [&[4, 40, 5, 51, 52, 53, 5, 50][..], &inner].concat();
        assert_eq!(prompt(&TOKENS, Some(0), Order::PrefixFirst, room, &around()), all);
        let plain = FillIn { repository: None, file: None, ..TOKENS };
        let suffix_first = [60, 52, 53, 2, 20, 21, 1, 10, 11, 12, 3];
        let around = Around { snippet: vec![60], ..Around::default() };
        assert_eq!(prompt(&plain, None, Order::SuffixFirst, room, &around), suffix_first);
        assert!(Gap::of(&FillIn { middle: None, ..TOKENS }, None, Order::PrefixFirst).is_none());
    }

    #[test]
    fn what_is_nearest_to_the_gap_stays_and_the_answer_fits() {
        for (n_ctx, n_predict) in
            [(64, None), (64, Some(16)), (64, Some(1000)), (512, Some(128)), (8192, Some(64)), (1, None)]
        {
            let room = Room::new(n_ctx, n_predict);
            let gap = Gap::of(&TOKENS, Some(0), Order::PrefixFirst).expect("tokens");
            let (before, after): (Vec<_>, Vec<_>) = ((100..9000).collect(), (10_000..19_000).collect());
            let extra = [(vec![51], vec![52; 9000])];
            let prompt = gap.prompt(room, &around(), &extra, before, after, &[12]);
            let n_answer = n_predict.unwrap_or(n_ctx / 4).min(n_ctx / 2);
            assert!(n_ctx < 8 || prompt.len() + n_answer <= n_ctx, "{n_ctx} {n_predict:?}: {}", prompt.len());
            let at = |token| prompt.iter().position(|of| *of == token);
            assert_eq!(at(8999).map(|at| prompt[at + 1]), (n_ctx > 8).then_some(12), "{n_ctx}");
        }
    }
}
