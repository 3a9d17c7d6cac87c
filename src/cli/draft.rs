//! Speculation: how tokens are guessed, as typed.

#![allow(clippy::doc_markdown, reason = "doc comments are the help texts")]

use anyhow::Result;
use clap::Args as ClapArgs;

use crate::generate::Draft;
use crate::generate::draft::{self, Length};
use crate::steer::{Plan, Steered};

/// Tokens that are guessed and decoded at once; what is chosen stays what it would be without.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Drafting")]
pub struct DraftArgs {
    /// Tokens to guess at each step, so that the base decodes several at once: `auto` for as many as pay, `off`, or a
    /// number
    #[arg(
        long,
        visible_alias = "draft-max",
        aliases = ["draft-n", "spec-draft-n-max"],
        value_name = "auto|N|off",
        default_value = "auto",
        allow_negative_numbers = true
    )]
    pub draft: String,
    /// A guess that is less probable to its model ends the draft; 0 for none
    #[arg(
        long,
        aliases = ["draft-p-min", "spec-draft-p-min"],
        value_name = "P",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub draft_min_p: f32,
    /// Who guesses: `lookup` for what the text itself repeats, which comes first, and `expert` or `base`; or `none`
    #[arg(long, value_name = "NAME,…", default_value = "lookup,expert")]
    pub drafter: String,
}

impl DraftArgs {
    pub fn get(&self) -> Result<Draft> {
        let length: Length = self.draft.parse()?;
        let draft = Draft { length, min_p: self.draft_min_p, drafters: draft::drafters(&self.drafter)? };
        draft.validate()?;
        Ok(draft)
    }
}

/// Makes room for the rows of a step in every context.
pub fn make_room(plan: &mut Plan, draft: &Draft) {
    plan.contexts_mut().for_each(|context| context.n_outputs_max = draft.n_step());
}

/// Tells where less is guessed than was asked for.
pub fn note_limits(steered: &Steered, draft: &Draft) {
    let (asked, n_step) = (draft.n_step(), draft.n_step_of(steered));
    if asked > 1 && !steered.can_roll_back() {
        eprintln!("note: a model with a recurrent state cannot take tokens back, so none are guessed");
    } else if let Length::Fixed(n) = draft.length
        && n_step < asked
    {
        let why = if n_step == steered.n_rows_max() {
            format!("a batch (-b) has room for {n_step} tokens")
        } else {
            format!("more than {n_step} tokens at once cost a multiple on a device")
        };
        eprintln!("note: --draft {n} guesses {} tokens at most: {why}", n_step - 1);
    }
}
