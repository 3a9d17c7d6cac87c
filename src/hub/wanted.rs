//! What is wanted of a hub.

use std::fmt;
use std::str::FromStr;

use super::{Error, names};

/// `user/repo[:quant]`, or a named file in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub repo: String,
    pub quant: Option<String>,
    /// The file's path in the repository; `quant` is then not looked at.
    pub file: Option<String>,
    /// A branch, tag or commit; `main` where none is given.
    pub revision: Option<String>,
    /// What the file, or the first one of a split model, has to be: 64 hexadecimal digits in lower case. Whatever the
    /// hub says it is, another one is refused.
    pub sha256: Option<String>,
}

impl Wanted {
    pub(super) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        names::check_repo(&self.repo)?;
        self.quant.as_deref().map_or(Ok(()), names::check_quant)?;
        self.file.as_deref().map_or(Ok(()), |file| names::check_path("file", file))?;
        if let Some(sha256) = self.sha256.as_ref().filter(|sha256| !names::is_hex(sha256, 64)) {
            let expected = "64 hexadecimal digits in lower case";
            return Err(Error::Setting { name: "the SHA-256", value: sha256.clone(), expected });
        }
        names::check_path("revision", self.revision())
    }

    /// What there is instead of a file with the SHA-256 that was asked for.
    pub(super) fn other(&self, file: &str, expected: &str, got: &str) -> Error {
        let [file, expected, got] = [file, expected, got].map(str::to_owned);
        Error::Other { repo: self.repo.clone(), file, expected, got }
    }
}

impl FromStr for Wanted {
    type Err = Error;

    /// llama.cpp's `user/repo[:quant]`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (repo, quant) = match text.split_once(':') {
            Some((repo, quant)) => (repo, Some(quant.to_owned())),
            None => (text, None),
        };
        let wanted = Self { repo: repo.to_owned(), quant, file: None, revision: None, sha256: None };
        wanted.validate()?;
        Ok(wanted)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.repo)?;
        match (&self.file, &self.quant) {
            (Some(file), _) => write!(f, "/{file}")?,
            (None, Some(quant)) => write!(f, ":{quant}")?,
            (None, None) => {}
        }
        self.revision.as_ref().map_or(Ok(()), |revision| write!(f, " at {revision}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_quantisation_stands_behind_a_colon() {
        let wanted: Wanted = "user/repo:Q4_K_M".parse().expect("valid");
        assert_eq!((wanted.repo.as_str(), wanted.quant.as_deref()), ("user/repo", Some("Q4_K_M")));
        assert_eq!(wanted.to_string(), "user/repo:Q4_K_M");
        let wanted: Wanted = "user/repo".parse().expect("valid");
        assert_eq!((wanted.quant, wanted.revision), (None, None));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "repo", "user/repo:", "user/repo:a:b", "user/repo:a/b", "https://hub/user/repo", "u/r@main:Q8_0"]
        {
            assert!(text.parse::<Wanted>().is_err(), "{text:?}");
        }
        let file = |file: &str| Wanted { file: Some(file.to_owned()), ..Wanted::from_str("u/r").expect("valid") };
        assert!(file("../x.gguf").validate().is_err() && file("x.gguf").validate().is_ok());
        let revision = |name: &str| Wanted { revision: Some(name.to_owned()), ..file("x.gguf") };
        assert!(revision("../main").validate().is_err() && revision("refs/pr/1").validate().is_ok());
    }

    proptest! {
        #[test]
        fn what_is_accepted_reads_the_same_again(text in r"[ab/:._\-\PC]{0,12}") {
            if let Ok(wanted) = text.parse::<Wanted>() {
                prop_assert_eq!(wanted.to_string(), text);
            }
        }
    }
}
