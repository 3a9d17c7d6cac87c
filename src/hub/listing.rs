//! What a repository holds, as the hub lists it.

use std::collections::BTreeMap;

use serde::Deserialize;
use ureq::http::{HeaderMap, header};

use super::client::Client;
use super::progress::Listener;
use super::url::encode_part;
use super::{Error, Wanted, names};

/// The hub lists about a thousand files a page.
const MAX_PAGES: usize = 50;
/// A hundred times the largest file that the hub takes.
const MAX_FILE: u64 = 1 << 44;

/// One GGUF file, its path and size checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub path: String,
    pub size: u64,
    /// 64 hexadecimal digits.
    sha256: Option<String>,
}

impl Entry {
    pub fn sha256(&self) -> Result<&str, Error> {
        self.sha256.as_deref().ok_or_else(|| Error::Unverifiable { file: self.path.clone() })
    }
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: serde_json::Value,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: serde_json::Value,
}

/// The commit that the revision is, and its GGUF files in the order of their paths.
pub(super) fn read(client: &Client, wanted: &Wanted, report: &mut Listener) -> Result<(String, Vec<Entry>), Error> {
    let revision = encode_part(wanted.revision());
    let url = client.endpoint.below(&format!("/api/models/{}/revision/{revision}", wanted.repo))?;
    let (Revision { sha: commit }, _) = client.json(&url, wanted, report)?;
    if !names::is_hex(&commit, 40) {
        return Err(Error::Refused(format!("the commit is {commit:?}, expected 40 hexadecimal digits")));
    }
    let mut url = client.endpoint.below(&format!("/api/models/{}/tree/{commit}?recursive=true", wanted.repo))?;
    let mut entries = BTreeMap::new();
    for _ in 0..MAX_PAGES {
        let (items, headers): (Vec<Item>, _) = client.json(&url, wanted, report)?;
        for item in items {
            let Some(entry) = entry(item)? else { continue };
            if let Some(twice) = entries.insert(entry.path.clone(), entry) {
                return Err(Error::Refused(format!("{:?} is listed twice", twice.path)));
            }
        }
        match next(&headers) {
            None => return Ok((commit, entries.into_values().collect())),
            Some(link) => url = url.join(link)?,
        }
        if !url.is_same_origin(&client.endpoint) {
            return Err(Error::Refused(format!("the listing goes on at another host, {url}")));
        }
    }
    Err(Error::Refused(format!("the listing of {} has more than {MAX_PAGES} pages", wanted.repo)))
}

/// None for what is no GGUF file; that is not looked at further.
fn entry(item: Item) -> Result<Option<Entry>, Error> {
    if item.kind != "file" || !names::is_gguf(&item.path) {
        return Ok(None);
    }
    names::check_path("listed file", &item.path)?;
    let refuse = |what: String| Error::Refused(format!("{:?} {what}", item.path));
    let size = item.size.as_u64().filter(|&size| size <= MAX_FILE);
    let size = size.ok_or_else(|| refuse(format!("has the size {}, expected 0 to {MAX_FILE}", item.size)))?;
    if let Some(Lfs { oid, size: lfs_size }) = &item.lfs {
        if !names::is_hex(oid, 64) {
            return Err(refuse(format!("has the SHA-256 {oid:?}, expected 64 hexadecimal digits")));
        }
        if lfs_size.as_u64() != Some(size) {
            return Err(refuse(format!("has two sizes, {size} and {lfs_size}")));
        }
    }
    Ok(Some(Entry { path: item.path, size, sha256: item.lfs.map(|lfs| lfs.oid) }))
}

/// The address of the next page: `Link: <https://…>; rel="next"`.
fn next(headers: &HeaderMap) -> Option<&str> {
    let mut rest = headers.get(header::LINK)?.to_str().ok()?;
    while let Some((_, link)) = rest.split_once('<') {
        let (url, parameters) = link.split_once('>')?;
        let end = parameters.find(',').unwrap_or(parameters.len());
        if parameters[..end].split(';').any(|word| matches!(word.trim(), "rel=\"next\"" | "rel=next")) {
            return Some(url);
        }
        rest = &parameters[end..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: serde_json::Value) -> Result<Option<Entry>, Error> {
        entry(serde_json::from_value(json).expect("an item"))
    }

    #[test]
    fn entries() {
        let oid = "a".repeat(64);
        let file = |path: &str, size: serde_json::Value, oid: &str| {
            parse(serde_json::json!({"type": "file", "path": path, "size": size, "lfs": {"oid": oid, "size": size}}))
        };
        let good = file("a.gguf", 5.into(), &oid).expect("valid").expect("a GGUF file");
        assert_eq!((good.size, good.sha256().expect("there")), (5, oid.as_str()));
        for size in [(-1).into(), 1.5.into(), "5".into(), u64::MAX.into(), serde_json::Value::Null] {
            assert!(file("a.gguf", size.clone(), &oid).is_err(), "{size}");
        }
        for oid in ["", "../../../x", &"A".repeat(64), &"a".repeat(63), &"g".repeat(64)] {
            assert!(file("a.gguf", 5.into(), oid).is_err(), "{oid}");
        }
        assert!(file("../a.gguf", 5.into(), &oid).is_err());
        assert!(file("README.md", (-1).into(), "?").expect("not looked at").is_none());
        let sizes = serde_json::json!({"type": "file", "path": "a.gguf", "size": 5, "lfs": {"oid": oid, "size": 6}});
        assert!(parse(sizes).is_err());
        let plain = parse(serde_json::json!({"type": "file", "path": "a.gguf", "size": 5})).expect("valid");
        assert!(matches!(plain.expect("a GGUF file").sha256(), Err(Error::Unverifiable { .. })));
    }

    #[test]
    fn links() {
        for (link, expected) in [
            ("<https://hub/?a,b>; rel=\"next\"", Some("https://hub/?a,b")),
            ("<https://hub/1>; rel=\"first\", <https://hub/2>; rel=next", Some("https://hub/2")),
            ("<https://hub/1>; rel=\"prev\"", None),
            ("<https://hub/1", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::LINK, link.parse().expect("a value"))]);
            assert_eq!(next(&headers), expected, "{link}");
        }
    }
}
