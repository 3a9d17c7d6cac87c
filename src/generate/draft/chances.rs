//! What becomes of drafts, as seen while they are made.

use crate::llama::draft_chain::Draw;

/// What a draft looked like before it was checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Confidence {
    /// Its probability to the model that made it, where that held it for the likeliest.
    Likeliest(f32),
    /// The same where it is another one, which was drawn.
    Drawn(f32),
    /// Tokens at the end of the text that stood before it the last time.
    Match(usize),
    /// Tokens that spell what has to come next; others may spell it too.
    Forced,
}

impl Confidence {
    /// Whether a model made the draft.
    #[must_use]
    pub fn is_model(self) -> bool {
        matches!(self, Self::Likeliest(_) | Self::Drawn(_))
    }
}

/// Upper ends of the ranges of probabilities that are told apart.
const PROBABILITIES: [f32; 8] = [0.2, 0.4, 0.6, 0.75, 0.9, 0.97, 0.995, 1.0];
/// The same for the lengths of matches.
const MATCHES: [usize; 5] = [2, 3, 4, 7, usize::MAX];
/// Chances of a draft of each length of match, before anything was seen.
const MATCH_CHANCES: [f64; 5] = [0.4, 0.5, 0.6, 0.75, 0.9];

/// Chances that a draft is accepted, by what it looked like; of each confidence the last drafts count most.
///
/// They belong to the models rather than to a text: one text's drafts are the next one's experience.
#[derive(Debug, Clone, Copy)]
pub struct Chances {
    likeliest: [Chance; PROBABILITIES.len()],
    drawn: [Chance; PROBABILITIES.len()],
    by_match: [Chance; MATCHES.len()],
    forced: Chance,
    /// A model's next draft, of which nothing is known yet.
    unseen: Chance,
}

impl Default for Chances {
    fn default() -> Self {
        let mut below = 0.0;
        let likeliest = PROBABILITIES.map(|upper| {
            let middle = f64::from(below + upper) / 2.0;
            below = upper;
            Chance::expected(middle, 2.0, 0.99)
        });
        let drawn = [Chance::expected(0.3, 2.0, 0.98); PROBABILITIES.len()];
        let by_match = MATCH_CHANCES.map(|chance| Chance::expected(chance, 2.0, 0.98));
        let forced = Chance::expected(0.85, 4.0, 0.98);
        Self { likeliest, drawn, by_match, forced, unseen: Chance::expected(0.75, 4.0, 0.97) }
    }
}

impl Chances {
    /// The chance that a draft is accepted, if those before it are.
    #[must_use]
    pub fn get(&self, confidence: Confidence) -> f64 {
        match confidence {
            Confidence::Likeliest(p) => self.likeliest[range(&PROBABILITIES, p)].get(),
            Confidence::Drawn(p) => self.drawn[range(&PROBABILITIES, p)].get(),
            Confidence::Match(length) => self.by_match[range(&MATCHES, length)].get(),
            Confidence::Forced => self.forced.get(),
        }
    }

    /// The same for a draft that a model has yet to make.
    #[must_use]
    pub fn unseen(&self) -> f64 {
        self.unseen.get()
    }

    /// Hears what became of a draft, taken or not.
    pub fn learn(&mut self, confidence: Confidence, accepted: bool) {
        let chance = match confidence {
            Confidence::Likeliest(p) => &mut self.likeliest[range(&PROBABILITIES, p)],
            Confidence::Drawn(p) => &mut self.drawn[range(&PROBABILITIES, p)],
            Confidence::Match(length) => &mut self.by_match[range(&MATCHES, length)],
            Confidence::Forced => &mut self.forced,
        };
        chance.learn(accepted);
        if confidence.is_model() {
            self.unseen.learn(accepted);
        }
    }
}

fn range<T: PartialOrd + Copy>(upper: &[T], x: T) -> usize {
    upper.iter().position(|&upper| x <= upper).unwrap_or(upper.len() - 1)
}

/// Chances by how drafts are drawn, since those that are drawn fail more often than the likeliest.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ByDraw {
    alike: Chances,
    likeliest: Chances,
}

impl ByDraw {
    pub fn of(&self, draw: Draw) -> &Chances {
        match draw {
            Draw::Alike => &self.alike,
            Draw::Likeliest => &self.likeliest,
        }
    }

    pub fn of_mut(&mut self, draw: Draw) -> &mut Chances {
        match draw {
            Draw::Alike => &mut self.alike,
            Draw::Likeliest => &mut self.likeliest,
        }
    }
}

/// A share of what went well, in which the last cases count most, with what is expected before the first.
#[derive(Debug, Clone, Copy)]
struct Chance {
    good: f64,
    all: f64,
    memory: f64,
}

impl Chance {
    fn expected(chance: f64, weight: f64, memory: f64) -> Self {
        Self { good: chance * weight, all: weight, memory }
    }

    fn get(self) -> f64 {
        self.good / self.all
    }

    fn learn(&mut self, good: bool) {
        self.good = self.good * self.memory + f64::from(u8::from(good));
        self.all = self.all * self.memory + 1.0;
    }
}
