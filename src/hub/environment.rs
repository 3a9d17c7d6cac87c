//! Where the environment says that hub and cache are: llama.cpp's variables, then those of `huggingface_hub`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Error;
use crate::remembered;
use crate::text_file;

const ENDPOINT: &str = "https://huggingface.co";
const MAX_TOKEN_BYTES: u64 = 64 << 10;

pub(super) struct Settings {
    pub endpoint: String,
    pub token: Option<String>,
    pub cache: PathBuf,
    /// Where it is noted which files of the cache were hashed.
    pub notes: Option<PathBuf>,
    pub offline: bool,
}

/// `var` is `std::env::var_os`, or a test's own.
pub(super) fn read(var: &dyn Fn(&str) -> Option<OsString>) -> Result<Settings, Error> {
    let set = |name: &str| var(name).filter(|value| !value.is_empty());
    let text = |name: &'static str| {
        let unreadable = |_| Error::Setting { name, value: "(not shown)".to_owned(), expected: "UTF-8" };
        set(name).map(|value| value.into_string().map_err(unreadable)).transpose()
    };
    let is_set = |name: &'static str| {
        let is_yes = |value: String| ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str());
        text(name).map(|value| value.is_some_and(is_yes))
    };
    let folder = |name: &str| set(name).map(PathBuf::from);

    let home = folder(if cfg!(windows) { "USERPROFILE" } else { "HOME" }).or_else(std::env::home_dir);
    let caches = folder("XDG_CACHE_HOME").or_else(|| Some(home?.join(".cache")));
    let notes = notes(var);
    let hf_home = folder("HF_HOME").or_else(|| Some(caches?.join("huggingface")));
    let named = ["LLAMA_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"].into_iter().find_map(folder);
    let cache = named.or_else(|| Some(hf_home.as_ref()?.join("hub")));
    let cache = cache.ok_or(Error::Setting {
        name: "HOME",
        value: String::new(),
        expected: "a folder, or LLAMA_CACHE to be one",
    })?;

    let endpoint = text("MODEL_ENDPOINT")?.or(text("HF_ENDPOINT")?).unwrap_or_else(|| ENDPOINT.to_owned());
    let token = match (text("HF_TOKEN")?, folder("HF_TOKEN_PATH")) {
        (Some(token), _) => Some(token.trim().to_owned()),
        (None, Some(path)) => Some(text_file::read(&path, MAX_TOKEN_BYTES)?.trim().to_owned()),
        (None, None) if is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN")? => None,
        (None, None) => hf_home.map_or(Ok(None), |home| saved_token(&home))?,
    };
    let offline = is_set("HF_HUB_OFFLINE")?;
    Ok(Settings { endpoint, token: token.filter(|token| !token.is_empty()), cache, notes, offline })
}

/// Where it is noted which files were hashed.
pub(super) fn notes(var: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    remembered::folder(var).map(|folder| folder.join("verified"))
}

/// The token that `hf auth login` saved, if it did.
fn saved_token(hf_home: &Path) -> Result<Option<String>, Error> {
    match text_file::read(&hf_home.join("token"), MAX_TOKEN_BYTES) {
        Ok(token) => Ok(Some(token.trim().to_owned())),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Hub;
    use super::*;

    fn resolve(variables: &[(&str, &str)]) -> Result<Hub, Error> {
        Hub::from_settings(read(&|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })?)
    }

    #[test]
    #[cfg(unix)]
    fn the_cache_is_where_the_first_of_them_says() {
        let all = [
            ("LLAMA_CACHE", "/llama", "/llama"),
            ("HF_HUB_CACHE", "/hub", "/hub"),
            ("HUGGINGFACE_HUB_CACHE", "/old", "/old"),
            ("HF_HOME", "/hf", "/hf/hub"),
            ("XDG_CACHE_HOME", "/xdg", "/xdg/huggingface/hub"),
            ("HOME", "/home/me", "/home/me/.cache/huggingface/hub"),
        ];
        for first in 0..all.len() {
            let mut variables: Vec<(&str, &str)> =
                all[first..].iter().map(|(name, value, _)| (*name, *value)).collect();
            variables.push(("LLAMA_CACHE", ""));
            let hub = resolve(&variables).expect("valid");
            assert_eq!(hub.cache, Path::new(all[first].2), "{}", all[first].0);
        }
    }

    #[test]
    fn endpoint_token_and_offline() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = ("HF_HOME", folder.path().to_str().expect("UTF-8"));
        let shown = |variables: &[(&str, &str)]| {
            let hub = resolve(variables).expect("valid");
            (hub.client.endpoint.to_string(), hub.client.has_token(), hub.offline)
        };
        assert_eq!(shown(&[home]), (ENDPOINT.to_owned(), false, false));
        let given = [home, ("HF_ENDPOINT", "http://mirror/"), ("HF_TOKEN", "hf_x\n"), ("HF_HUB_OFFLINE", "true")];
        assert_eq!(shown(&given), ("http://mirror".to_owned(), true, true));
        std::fs::write(folder.path().join("token"), "hf_y\n").expect("writable");
        assert!(shown(&[home, ("HF_HUB_OFFLINE", "0")]).1);
        assert!(resolve(&[home, ("HF_ENDPOINT", "mirror")]).is_err());
        assert!(resolve(&[home, ("HF_TOKEN_PATH", "/no/such/file")]).is_err());
        let error = resolve(&[home, ("HF_TOKEN", "hf secret")]).expect_err("a space").to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn a_saved_token_may_come_from_any_editor_and_be_left_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = ("HF_HOME", folder.path().to_str().expect("UTF-8"));
        std::fs::write(folder.path().join("token"), "\u{feff}hf_y\r\n").expect("writable");
        assert!(resolve(&[home]).expect("valid").client.has_token());
        let without = resolve(&[home, ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).expect("valid");
        assert!(!without.client.has_token());
        std::fs::write(folder.path().join("token"), "hf y").expect("writable");
        assert!(resolve(&[home]).is_err());
    }

    #[test]
    fn credentials_in_an_address_are_not_shown() {
        let error =
            resolve(&[("HOME", "/"), ("HF_ENDPOINT", "https://me:hunter2@hub")]).expect_err("a user").to_string();
        assert!(error.contains("hub") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_token_is_not_shown() {
        let hub = Hub::new(ENDPOINT, Some("hf_secret".to_owned()), Path::new("cache"), false).expect("valid");
        assert!(!format!("{hub:?}").contains("secret"));
    }
}
