//! The server's ids in terms of the small models', where a `tokenizer.json` says that they are others.

use std::collections::HashMap;

use super::{Error, Token};
use crate::vocab::IdMap;

/// The same on both sides, unless there is a map.
#[derive(Debug, Default)]
pub(super) struct Ids(Option<Maps>);

#[derive(Debug)]
struct Maps {
    /// The small models' ids for the server's.
    own: IdMap,
    theirs: HashMap<usize, usize>,
}

impl Ids {
    /// From the small models' id for each of the server's.
    #[cfg(feature = "remote")]
    pub fn mapped(own: IdMap) -> Self {
        let pairs = (0..own.as_slice().len()).filter_map(|theirs| Some((own.other(theirs)?, theirs)));
        let theirs = pairs.collect();
        Self(Some(Maps { own, theirs }))
    }

    /// The small models' id of one of the server's.
    pub fn own(&self, theirs: i64) -> Option<Token> {
        let theirs = usize::try_from(theirs).ok()?;
        let own = match &self.0 {
            None => Some(theirs),
            Some(maps) => maps.own.other(theirs),
        };
        own.and_then(|id| Token::try_from(id).ok())
    }

    /// The server's id.
    pub fn theirs(&self, token: Token) -> Result<Token, Error> {
        let Some(maps) = &self.0 else { return Ok(token) };
        let theirs = usize::try_from(token).ok().and_then(|own| maps.theirs.get(&own).copied());
        theirs.and_then(|id| Token::try_from(id).ok()).ok_or(Error::NotTheirs { token })
    }

    pub fn all_theirs(&self, tokens: &[Token]) -> Result<Vec<Token>, Error> {
        tokens.iter().map(|&token| self.theirs(token)).collect()
    }
}
