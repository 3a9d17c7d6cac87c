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
        alias = "draft-n",
        value_name = "auto|N|off",
        default_value = "auto",
        allow_negative_numbers = true
    )]
    pub draft: String,
    /// A guess that is less probable to its model ends the draft; 0 for none
    #[arg(long, alias = "draft-p-min", value_name = "P", default_value_t = 0.0, allow_negative_numbers = true)]
    pub draft_min_p: f32,
    /// Who guesses, the first that can: `lookup` for what the text itself repeats, `expert`, `base`; or `none`
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

/// Tells where nothing can be guessed though it was asked for.
pub fn note_where_impossible(steered: &Steered, draft: &Draft) {
    if draft.n_step() > 1 && !steered.can_roll_back() {
        eprintln!("note: a model with a recurrent state cannot take tokens back, so none are guessed");
    }
}
