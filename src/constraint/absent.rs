//! Without the feature `constraint` every form is refused, and nothing of this can be called.

use super::form::{Form, Refused};
use crate::sampling::Sampling;

/// A model's tokens, which nothing is made of.
#[derive(Debug)]
pub struct Tokens;

impl Tokens {
    pub fn new(_: &[Vec<u8>]) -> Result<Self, Refused> {
        Ok(Self)
    }

    #[must_use]
    pub fn named(_: &str) -> Vec<u8> {
        Vec::new()
    }

    #[must_use]
    pub fn of_bytes() -> &'static Self {
        &Self
    }

    pub fn constrain(&self, _: &Form, _: &[u32]) -> Result<Constraint, Refused> {
        Err(Refused::Absent)
    }
}

/// There is none.
#[derive(Debug, Clone)]
pub enum Constraint {}

impl Constraint {
    #[must_use]
    pub fn notes(&self) -> &[String] {
        match *self {}
    }

    pub fn mask(&mut self) -> Result<Mask, Refused> {
        match *self {}
    }

    pub fn allows(&mut self, _: u32) -> Result<bool, Refused> {
        match *self {}
    }

    pub fn accept(&mut self, _: u32) -> Result<(), Refused> {
        match *self {}
    }

    pub fn forced_bytes(&mut self) -> Vec<u8> {
        match *self {}
    }

    pub fn forced(&mut self) -> Vec<u32> {
        match *self {}
    }

    pub fn is_complete(&mut self) -> bool {
        match *self {}
    }
}

/// There is none.
#[derive(Debug, Clone, Copy)]
pub enum Mask {}

impl Mask {
    #[must_use]
    pub fn allows(self, _: u32) -> bool {
        match self {}
    }
}

/// There is none.
#[derive(Debug)]
pub enum Validator {}

impl Validator {
    #[must_use]
    pub fn new(_: &str) -> Option<Self> {
        None
    }

    pub fn check(&self, _: &str) -> Result<(), String> {
        match *self {}
    }
}

impl Form {
    /// What sampling parameters ask for. A grammar is llama.cpp's to keep.
    #[must_use]
    pub fn of(sampling: &Sampling) -> Option<Self> {
        Self::of_all_but_grammars(sampling)
    }

    /// Refuses what would be refused for any model.
    pub fn check(&self) -> Result<(), Refused> {
        Tokens::of_bytes().constrain(self, &[]).map(drop)
    }
}
