//! Texts on a server: what each holds, what is asked behind it, and the rows that came of that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::position::{MOST_MASS, Position};
use super::row::Row;
use super::server::{Question, Told};
use super::workers::Workers;
use super::{Error, Server, Stats, Token, stop};
use crate::sampling::Sampling;

/// Rows that a step puts out at most: each is a request, but on servers that score, and takes `4 · n_vocab` bytes.
const MAX_ROWS: usize = 64;

/// A server that draws is told a prompt of so many tokens before the offset is known, so that it reads while the pair does.
const WORTH_READING: usize = 32;

/// Texts on a server. Nothing is kept there: every request brings its whole text, of which the server may remember a part.
#[derive(Debug)]
pub struct Context {
    server: Arc<Server>,
    workers: Workers,
    n_ctx: usize,
    sequences: Vec<Sequence>,
    busy: Duration,
}

#[derive(Debug, Default)]
struct Sequence {
    tokens: Vec<Token>,
    ahead: Ahead,
    rows: Vec<Row>,
    /// What each row was made of.
    positions: Vec<Position>,
    asked: Option<Asked>,
    drawn: Option<Answer>,
    /// Each with the row that it belongs to.
    named: Vec<(usize, Answer)>,
    stats: Stats,
}

/// What the server told of positions that nobody has asked for yet.
#[derive(Debug, Clone, Default)]
struct Ahead {
    /// The first position stands behind so many tokens of the text; each next one behind one more of `written`.
    at: usize,
    written: Vec<Token>,
    positions: Vec<Position>,
}

impl Ahead {
    /// The position behind a text whose first tokens are those that it was told for.
    fn behind(&self, text: &[Token]) -> Option<&Position> {
        let place = text.len().checked_sub(self.at)?;
        let is_so = self.written.get(..place)? == &text[self.at..];
        self.positions.get(place).filter(|_| is_so)
    }
}

/// An answer that is under way, and how long it was.
type Answer = Receiver<(Result<Told, Error>, Duration)>;

/// What a text was submitted for.
#[derive(Debug)]
struct Asked {
    /// Tokens before the submit.
    n_past: usize,
    wanted: Vec<Wanted>,
}

#[derive(Debug)]
enum Wanted {
    /// It was told already.
    Known(Position),
    /// The positions behind the text's first `at` tokens and on, so many of them.
    Positions { at: usize, n: usize, answer: Answer },
    /// The server reads the text; it is asked for a token once the offset is known.
    Read(Answer),
}

impl Context {
    /// Room for so many texts, each of `n_ctx` tokens, or of as many as the server takes where that is fewer.
    #[must_use]
    pub fn new(server: Arc<Server>, n_ctx: usize, n_texts: usize) -> Self {
        let n_ctx = server.offer().n_ctx.map_or(n_ctx, |most| most.min(n_ctx));
        let sequences = (0..n_texts).map(|_| Sequence::default()).collect();
        Self { server, workers: Workers::new(), n_ctx, sequences, busy: Duration::ZERO }
    }

    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    #[must_use]
    pub fn n_ctx(&self) -> usize {
        self.n_ctx
    }

    #[must_use]
    pub fn n_texts(&self) -> usize {
        self.sequences.len()
    }

    #[must_use]
    pub fn n_vocab(&self) -> usize {
        self.server.n_vocab()
    }

    #[must_use]
    pub fn n_rows_max(&self) -> usize {
        if self.server.draws() { self.sequences.len() } else { MAX_ROWS.max(self.sequences.len()) }
    }

    /// Tokens of a text.
    #[must_use]
    pub fn n_past(&self, seq: usize) -> usize {
        self.sequences[seq].tokens.len()
    }

    #[must_use]
    pub fn stats(&self, seq: usize) -> &Stats {
        &self.sequences[seq].stats
    }

    pub fn reset_stats(&mut self, seq: usize) {
        self.sequences[seq].stats = Stats::default();
    }

    /// How long answers were waited for, all texts together.
    #[must_use]
    pub fn busy(&self) -> Duration {
        self.busy
    }

    /// Refuses what a text has no room for.
    pub fn check(&self, seq: usize, n_new: usize, n_rows: usize) -> Result<(), Error> {
        let n_tokens = self.n_past(seq) + n_new;
        if n_tokens > self.n_ctx {
            return Err(Error::Full { n_ctx: self.n_ctx, n_tokens });
        }
        if self.server.draws() && n_rows > 1 {
            return Err(Error::NotExact {
                what: "several positions at once (drafts, scores): a server that samples tells one token".to_owned(),
            });
        }
        Ok(())
    }

    /// Puts tokens behind a text, and asks for a row behind each of them from the one at `first` on, if there is to be any.
    /// [`Self::collect`] waits for them. `is_scored`: the text is given, and its own tokens may be told of beside the others.
    pub fn submit(
        &mut self,
        seq: usize,
        tokens: &[Token],
        n_rows: usize,
        first: usize,
        is_scored: bool,
    ) -> Result<(), Error> {
        self.check(seq, tokens.len(), n_rows)?;
        let Sequence { tokens: text, ahead, rows, positions, asked, stats, .. } = &mut self.sequences[seq];
        let mut ask = |question| ask(&mut self.workers, &self.server, question);
        rows.clear();
        positions.clear();
        let n_past = text.len();
        text.extend_from_slice(tokens);
        let places = (0..n_rows).map(|i| n_past + first + i + 1);
        let mut wanted = Vec::new();
        if self.server.draws() {
            if tokens.len() >= WORTH_READING {
                wanted.push(Wanted::Read(ask(Question::Read { prompt: text.clone() })));
            }
        } else {
            let mut missing = Vec::new();
            for at in places {
                match ahead.behind(&text[..at]) {
                    Some(position) => {
                        stats.n_ahead += 1;
                        wanted.push(Wanted::Known(position.clone()));
                    }
                    None => missing.push(at),
                }
            }
            match missing.as_slice() {
                [at, .., _] if self.server.scores() => {
                    let question = Question::Score { prompt: text.clone(), first: *at, keeps_own: is_scored };
                    wanted.push(Wanted::Positions { at: *at, n: missing.len(), answer: ask(question) });
                }
                missing => wanted.extend(missing.iter().map(|&at| {
                    let n_tokens = if at == text.len() { self.server.n_ahead() } else { 1 };
                    // The server would cut a text that it has no room for.
                    let n_left = u32::try_from(self.n_ctx - at).unwrap_or(u32::MAX).max(1);
                    let question = Question::Look { prompt: text[..at].to_vec(), n_tokens: n_tokens.min(n_left) };
                    Wanted::Positions { at, n: 1, answer: ask(question) }
                })),
            }
        }
        *asked = Some(Asked { n_past, wanted });
        Ok(())
    }

    /// Waits for what a text was submitted for. On an error the text is what it was before.
    pub fn collect(&mut self, seq: usize) -> Result<(), Error> {
        let Some(Asked { n_past, wanted }) = self.sequences[seq].asked.take() else { return Ok(()) };
        let done = self.take_in(seq, wanted);
        if done.is_err() {
            let Sequence { tokens, rows, .. } = &mut self.sequences[seq];
            tokens.truncate(n_past);
            rows.clear();
        }
        done
    }

    fn take_in(&mut self, seq: usize, wanted: Vec<Wanted>) -> Result<(), Error> {
        let n_vocab = self.n_vocab();
        let Sequence { tokens, ahead, rows, positions, stats, .. } = &mut self.sequences[seq];
        let mut take = |position: Position, stats: &mut Stats| {
            let row = Row::of(&position, n_vocab);
            stats.n_rows += 1;
            stats.n_dropped += position.n_dropped;
            stats.rest += row.rest();
            stats.rest_most = stats.rest_most.max(row.rest());
            rows.push(row);
            positions.push(position);
        };
        for wanted in wanted {
            let (at, n, answer) = match wanted {
                Wanted::Known(position) => {
                    take(position, stats);
                    continue;
                }
                Wanted::Read(answer) => {
                    match receive(&answer, stats, &mut self.busy) {
                        Err(Error::Stopped) => return Err(Error::Stopped),
                        // Whatever kept it from reading is told by the next request.
                        Err(_) | Ok(_) => continue,
                    }
                }
                Wanted::Positions { at, n, answer } => (at, n, answer),
            };
            let mut told = receive(&answer, stats, &mut self.busy)?;
            if told.positions.len() < n {
                return Err(Error::Garbage {
                    url: self.server.offer().url.clone(),
                    what: format!("{} positions of {n} that were asked for", told.positions.len()),
                });
            }
            if let (None, Some(n_read)) = (stats.prompt, told.n_read) {
                stats.prompt = Some((at, n_read));
            }
            told.positions[..n].iter().for_each(|position| take(position.clone(), stats));
            let last = at + n - 1;
            if last == tokens.len() {
                // The last of them begins what the base writes on.
                *ahead = Ahead { at: last, written: told.written, positions: told.positions.split_off(n - 1) };
            }
        }
        Ok(())
    }

    /// Lets the server draw a token behind a text, from its own logits and these biases, `None` for a token that must not be
    /// chosen. [`Self::collect_drawn`] waits for it.
    pub fn draw(&mut self, seq: usize, biases: Vec<(Token, Option<f32>)>, sampling: &Sampling, seed: u32) {
        let prompt = self.sequences[seq].tokens.clone();
        let question = Question::Draw { prompt, biases, sampling: Box::new(sampling.clone()), seed };
        self.sequences[seq].drawn = Some(ask(&mut self.workers, &self.server, question));
    }

    /// Waits for the token that a text's server draws: the row's only id that may be chosen.
    pub fn collect_drawn(&mut self, seq: usize) -> Result<(), Error> {
        let n_vocab = self.n_vocab();
        let Sequence { rows, drawn, stats, .. } = &mut self.sequences[seq];
        let Some(answer) = drawn.take() else { return Ok(()) };
        let Told { positions, written, .. } = receive(&answer, stats, &mut self.busy)?;
        stats.n_rows += 1;
        let Some(&token) = written.first() else { return Err(stop::lost()) };
        let position = positions.into_iter().next().unwrap_or_else(|| Position::certain(token));
        *rows = vec![Row::of(&position, n_vocab).chosen(token)];
        Ok(())
    }

    /// Asks for ids that the text's rows do not show, each a row's place and its ids. [`Self::collect_named`] waits for them.
    pub fn name(&mut self, seq: usize, wanted: Vec<(usize, Vec<Token>)>) {
        let Sequence { tokens, rows, named, .. } = &mut self.sequences[seq];
        let n_before = tokens.len() - rows.len();
        let ask = |(row, ids)| {
            let question = Question::Name { prompt: tokens[..=n_before + row].to_vec(), ids };
            (row, ask(&mut self.workers, &self.server, question))
        };
        *named = wanted.into_iter().map(ask).collect();
    }

    /// Waits for what was asked for so: the rows know it from then on.
    pub fn collect_named(&mut self, seq: usize) -> Result<(), Error> {
        let n_vocab = self.n_vocab();
        let Sequence { rows, positions, named, stats, .. } = &mut self.sequences[seq];
        for (row, answer) in std::mem::take(named) {
            let told = receive(&answer, stats, &mut self.busy)?;
            let Some(told) = told.positions.first() else { continue };
            let position = &mut positions[row];
            stats.n_named += position.add_named(told);
            if position.mass() > MOST_MASS {
                let what = format!("probabilities that add up to {:.3}", position.mass());
                return Err(Error::Garbage { url: self.server.offer().url.clone(), what });
            }
            rows[row] = Row::of(position, n_vocab);
        }
        Ok(())
    }

    /// Row `i` of those that a text was submitted for.
    pub fn row(&self, seq: usize, i: usize) -> Result<&Row, Error> {
        let rows = &self.sequences[seq].rows;
        rows.get(i).ok_or(Error::Row { row: i, n_rows: rows.len() })
    }

    /// Forgets what a text has behind its first `n` tokens, and what is under way for it.
    pub fn roll_back(&mut self, seq: usize, n: usize) {
        let Sequence { tokens, ahead, rows, asked, drawn, named, .. } = &mut self.sequences[seq];
        tokens.truncate(n);
        rows.clear();
        (*asked, *drawn) = (None, None);
        named.clear();
        if n < ahead.at {
            *ahead = Ahead::default();
        }
    }

    /// Makes text `to` hold what `from` holds.
    pub fn copy(&mut self, from: usize, to: usize) {
        if from != to {
            let Sequence { tokens, ahead, .. } = &self.sequences[from];
            let (tokens, ahead) = (tokens.clone(), ahead.clone());
            self.sequences[to] = Sequence { tokens, ahead, ..Sequence::default() };
        }
    }
}

fn ask(workers: &mut Workers, server: &Arc<Server>, question: Question) -> Answer {
    let server = server.clone();
    workers.start(move || {
        let began = Instant::now();
        (server.ask(&question), began.elapsed())
    })
}

/// Waits for an answer, and counts it.
fn receive(answer: &Answer, stats: &mut Stats, busy: &mut Duration) -> Result<Told, Error> {
    let waits = Instant::now();
    let received = stop::wait_for(answer);
    let waited = waits.elapsed();
    (stats.waited, *busy) = (stats.waited + waited, *busy + waited);
    let (told, under_way) = received?;
    stats.under_way += under_way;
    let told = told?;
    stats.n_requests += told.n_requests as usize;
    stats.n_retries += told.n_retries as usize;
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_ahead_serves_a_text_that_goes_on_so() {
        let position = |id| Position { shown: vec![(id, -0.1)], ..Position::default() };
        let ahead = Ahead { at: 2, written: vec![7, 8], positions: vec![position(7), position(8), position(9)] };
        assert_eq!(ahead.behind(&[1, 2]), Some(&position(7)));
        assert_eq!(ahead.behind(&[1, 2, 7, 8]), Some(&position(9)));
        for other in [&[1][..], &[1, 2, 6], &[1, 2, 7, 8, 9], &[1, 2, 8]] {
            assert_eq!(ahead.behind(other), None, "{other:?}");
        }
        assert_eq!(Ahead::default().behind(&[]), None);
    }
}
