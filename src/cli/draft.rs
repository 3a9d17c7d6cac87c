//! Speculation: how tokens are drafted, as typed.

#![allow(clippy::doc_markdown, reason = "doc comments are the help texts")]

use anyhow::Result;
use clap::Args as ClapArgs;

use crate::generate::Draft;
use crate::generate::draft::{self, Length};
use crate::steer::Plan;

/// Tokens that are drafted and decoded at once; what is chosen stays what it would be without.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Drafting")]
pub struct DraftArgs {
    /// How many tokens to draft at each step and decode at once: `auto` chooses from typical costs, `timed` from costs
    /// measured while it runs, a number from 0 to 15, or `off`. With `timed` the same seed may give another text on the next
    /// run, where logits depend on the batch size
    #[arg(
        long,
        visible_alias = "draft-max",
        aliases = ["draft-n", "spec-draft-n-max"],
        value_name = "auto|timed|N|off",
        default_value = "auto",
        allow_negative_numbers = true
    )]
    pub draft: String,
    /// Stop drafting when the drafter's probability of its token falls below P; 0 never stops
    #[arg(
        long,
        aliases = ["draft-p-min", "spec-draft-p-min"],
        value_name = "P",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub draft_min_p: f32,
    /// Who drafts: `lookup` for what the text itself repeats, which comes first, and `expert` or `base`; or `none`
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
