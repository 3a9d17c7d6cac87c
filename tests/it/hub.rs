//! Files of a hub: chosen, transferred, verified, cached; and hubs that fail or lie.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proxytune::hub::{Error, Found, Hub, Patience, Progress, Stage, Wanted};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hub_server::{COMMIT, Fault, HubServer, REPO, entry, sha256};

const NAME: &str = "m-Q4_K_M.gguf";
const SHELF: &str = "models--user--repo";

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * i % 251) as u8).collect()
}

fn patience() -> Patience {
    Patience {
        n_tries: 3,
        first_wait: Duration::ZERO,
        max_wait: Duration::from_millis(5),
        stall: Duration::from_millis(200),
        ..Patience::default()
    }
}

/// A hub with one model of 300 kB, and an empty cache.
struct Scene {
    server: HubServer,
    cache: TempDir,
    model: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let model = bytes(300_000);
        Self::with(&[(NAME, model.clone()), ("m-Q8_0.gguf", bytes(1000)), ("mmproj-Q8_0.gguf", bytes(10))], model)
    }

    fn with(files: &[(&str, Vec<u8>)], model: Vec<u8>) -> Self {
        Self { server: HubServer::start(files), cache: tempfile::tempdir().expect("a temporary folder"), model }
    }

    fn hub(&self) -> Hub {
        self.hub_with(None, false)
    }

    fn hub_with(&self, token: Option<&str>, offline: bool) -> Hub {
        let token = token.map(str::to_owned);
        let hub = Hub::new(&self.server.endpoint, token, &self.root(), offline).expect("valid");
        hub.with_patience(patience())
    }

    fn fetch(&self) -> Result<Found, Error> {
        self.hub().fetch(&wanted(REPO), &mut |_| true)
    }

    fn root(&self) -> PathBuf {
        self.cache.path().canonicalize().expect("there")
    }

    fn shelf(&self) -> PathBuf {
        self.root().join(SHELF)
    }

    fn blob(&self) -> PathBuf {
        self.shelf().join("blobs").join(sha256(&self.model))
    }

    fn partial(&self) -> PathBuf {
        self.blob().with_extension("incomplete")
    }

    fn put_partial(&self, bytes: &[u8]) {
        fs::create_dir_all(self.shelf().join("blobs")).expect("writable");
        fs::write(self.partial(), bytes).expect("writable");
    }

    /// The model is there under its name, and nothing is left over.
    fn assert_whole(&self, found: &Found) {
        assert_eq!(fs::read(&found.path).expect("readable"), self.model);
        assert!(self.blob().is_file() && !self.partial().exists());
    }
}

fn wanted(text: &str) -> Wanted {
    text.parse().expect("valid")
}

fn n_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| if path.is_dir() && !path.is_symlink() { n_files(&path) } else { 1 }).sum()
}

#[test]
fn a_file_comes_into_the_shared_layout() {
    let scene = Scene::new();
    let mut last = None;
    let found = scene.hub().fetch(&wanted(REPO), &mut |progress: &Progress| {
        last = Some((progress.file.to_owned(), progress.n_done, progress.n_all, progress.part, progress.n_parts));
        true
    });
    let found = found.expect("fetched");
    assert_eq!(found.path, scene.shelf().join("snapshots").join(COMMIT).join(NAME));
    assert!(found.unasked.is_none());
    scene.assert_whole(&found);
    assert_eq!(last, Some((NAME.to_owned(), 300_000, 300_000, 1, 1)));
    assert_eq!(fs::read_to_string(scene.shelf().join("refs/main")).expect("noted"), COMMIT);
    #[cfg(unix)]
    {
        let target = fs::read_link(&found.path).expect("a link");
        assert_eq!(target, Path::new("../../blobs").join(sha256(&scene.model)));
    }
    // Another tool of the ecosystem finds it.
    let theirs = hf_hub::Cache::new(scene.root()).model(REPO.to_owned()).get(NAME).expect("found");
    assert_eq!(theirs, found.path);
}

#[test]
fn a_cached_file_is_not_transferred_again() {
    let scene = Scene::new();
    scene.fetch().expect("fetched");
    let n_before = scene.server.requests().len();
    scene.assert_whole(&scene.fetch().expect("cached"));
    let targets: Vec<String> = scene.server.requests().split_off(n_before).into_iter().map(|it| it.target).collect();
    assert_eq!(targets.len(), 2, "{targets:?}");
    assert!(targets.iter().all(|target| target.starts_with("/api/models/")), "{targets:?}");
    // A blob of another tool's is linked; one of the wrong size is replaced.
    fs::remove_dir_all(scene.shelf().join("snapshots")).expect("removable");
    scene.assert_whole(&scene.fetch().expect("linked"));
    assert_eq!(scene.server.ranges().len(), 1);
    fs::write(scene.blob(), b"short").expect("writable");
    scene.assert_whole(&scene.fetch().expect("fetched anew"));
    assert_eq!(scene.server.ranges().len(), 2);
}

/// What a call told, a word for each change.
fn told(hub: &Hub) -> (Result<Found, Error>, Vec<&'static str>) {
    let mut told = Vec::new();
    let found = hub.fetch(&wanted(REPO), &mut |progress: &Progress| {
        let word = match progress.step {
            Stage::Listing => "listing",
            Stage::Verifying => "verifying",
            Stage::Spoilt { .. } => "spoilt",
            Stage::Transferring => "transferring",
            _ => "other",
        };
        if told.last() != Some(&word) {
            told.push(word);
        }
        true
    });
    (found, told)
}

#[test]
fn a_cached_file_is_hashed_once_and_again_when_it_changed() {
    let scene = Scene::new();
    let notes = tempfile::tempdir().expect("a temporary folder");
    let hub = || scene.hub().with_notes(notes.path());
    // What was verified as it came is known.
    for expected in [&["listing", "transferring"][..], &["listing"]] {
        assert_eq!(told(&hub()).1, expected);
    }
    // The same bytes in a file of another tool's.
    fs::remove_file(scene.blob()).expect("removable");
    fs::write(scene.blob(), &scene.model).expect("writable");
    for expected in [&["listing", "verifying"][..], &["listing"]] {
        assert_eq!(told(&hub()).1, expected);
    }
    // Without notes nothing is remembered.
    assert_eq!(told(&scene.hub()).1, ["listing", "verifying"]);
    assert!(n_files(notes.path()) >= 1 && n_files(&scene.shelf()) == 3, "the cache's own layout");
}

#[test]
fn a_planted_or_rotten_file_is_found_and_fetched_again() {
    let scene = Scene::new();
    let notes = tempfile::tempdir().expect("a temporary folder");
    let hub = || scene.hub().with_notes(notes.path());
    hub().fetch(&wanted(REPO), &mut |_| true).expect("fetched");
    let mut other = scene.model.clone();
    other[7] ^= 1;
    fs::write(scene.blob(), &other).expect("writable");
    let error = hub().with_offline(true).fetch(&wanted(REPO), &mut |_| true).expect_err("other bytes");
    let (said, expected) = (error.to_string(), sha256(&scene.model));
    assert!(matches!(error, Error::Spoilt { .. }) && said.contains(&expected) && said.contains("blobs"), "{said}");
    assert!(error.hint().is_some_and(|hint| hint.contains("--offline")));
    let (found, told) = told(&hub());
    scene.assert_whole(&found.expect("fetched again"));
    assert_eq!(told, ["listing", "verifying", "spoilt", "verifying", "spoilt", "transferring"]);
    // In place of the link.
    let snapshot = scene.shelf().join("snapshots").join(COMMIT).join(NAME);
    fs::remove_file(&snapshot).expect("removable");
    fs::write(&snapshot, &other).expect("writable");
    scene.assert_whole(&hub().fetch(&wanted(REPO), &mut |_| true).expect("linked again"));
    // The hub is away: what is wrong with the file is the news, not that.
    fs::write(scene.blob(), &other).expect("writable");
    scene.server.api([(); 3].map(|()| Fault::Status(503, "")));
    assert!(matches!(hub().fetch(&wanted(REPO), &mut |_| true), Err(Error::Spoilt { .. })));
}

#[test]
#[cfg(unix)]
fn a_pipe_in_place_of_a_reference_is_not_waited_for() {
    let scene = Scene::new();
    scene.fetch().expect("fetched");
    let reference = scene.shelf().join("refs/main");
    fs::remove_file(&reference).expect("removable");
    assert!(std::process::Command::new("mkfifo").arg(&reference).status().expect("mkfifo").success());
    let offline = scene.hub_with(None, true).fetch(&wanted(REPO), &mut |_| true);
    assert!(matches!(offline, Err(Error::Offline { .. })), "{offline:?}");
    scene.assert_whole(&scene.fetch().expect("the hub knows the commit"));
}

#[test]
fn a_token_is_not_sent_where_others_can_read_it() {
    let scene = Scene::new();
    let hub = Hub::new("http://hub.invalid", Some("hf_secret".to_owned()), &scene.root(), false).expect("valid");
    let error = hub.fetch(&wanted(REPO), &mut |_| true).expect_err("not encrypted");
    assert!(matches!(error, Error::PlainToken { .. }) && !error.to_string().contains("hf_secret"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("https://") && hint.contains("HF_TOKEN")));
}

#[test]
fn what_is_wanted_is_chosen() {
    let scene = Scene::new();
    let name = |text: &str| scene.hub().fetch(&wanted(text), &mut |_| true).expect("there").path;
    assert!(name("user/repo:q8_0").ends_with("m-Q8_0.gguf"));
    let file = Wanted { file: Some("mmproj-Q8_0.gguf".to_owned()), ..wanted(REPO) };
    assert!(scene.hub().fetch(&file, &mut |_| true).expect("there").path.ends_with("mmproj-Q8_0.gguf"));
    let error = scene.hub().fetch(&wanted("user/repo:Q2_K"), &mut |_| true).expect_err("not there");
    let hint = error.hint().expect("a list");
    assert!(matches!(error, Error::NoQuant { .. }) && hint.contains(NAME) && hint.contains("m-Q8_0.gguf"), "{hint}");
    let file = Wanted { file: Some("x.gguf".to_owned()), ..wanted(REPO) };
    assert!(matches!(scene.hub().fetch(&file, &mut |_| true), Err(Error::NoFile { .. })));
    let revision = Wanted { revision: Some("refs/pr/1".to_owned()), ..wanted(REPO) };
    scene.hub().fetch(&revision, &mut |_| true).expect("there");
    assert_eq!(fs::read_to_string(scene.shelf().join("refs/refs/pr/1")).expect("noted"), COMMIT);
}

#[test]
fn all_files_of_a_split_model_come() {
    let name = |i: usize| format!("Q4_K_M/a b-Q4_K_M-{i:05}-of-00003.gguf");
    let names = [name(1), name(2), name(3)];
    let files: Vec<(&str, Vec<u8>)> = names.iter().zip([5, 6, 7]).map(|(name, n)| (name.as_str(), bytes(n))).collect();
    let scene = Scene::with(&files, bytes(5));
    let mut parts = Vec::new();
    let found = scene.hub().fetch(&wanted(REPO), &mut |progress: &Progress| {
        parts.push((progress.part, progress.n_parts));
        true
    });
    let found = found.expect("fetched");
    parts.dedup();
    assert_eq!(parts, [(0, 0), (1, 3), (2, 3), (3, 3)]);
    let snapshot = scene.shelf().join("snapshots").join(COMMIT);
    assert_eq!(found.path, snapshot.join(&names[0]));
    for (name, n) in names.iter().zip([5, 6, 7]) {
        assert_eq!(fs::read(snapshot.join(name)).expect("there"), bytes(n));
    }
    let incomplete = Scene::with(&files[..2], bytes(5));
    let Err(Error::MissingParts { missing, .. }) = incomplete.fetch() else { panic!("a part is missing") };
    assert_eq!(missing, [name(3)]);
    assert!(incomplete.server.ranges().is_empty());
}

#[test]
fn a_cut_transfer_is_resumed() {
    let scene = Scene::new();
    scene.server.cdn([Fault::Cut(100_000), Fault::Stall(50_000), Fault::None]);
    let mut n_retries = 0;
    let found = scene.hub().fetch(&wanted(REPO), &mut |progress: &Progress| {
        n_retries += usize::from(matches!(progress.step, Stage::Retrying { error: Error::Cut { .. }, .. }));
        true
    });
    scene.assert_whole(&found.expect("fetched"));
    let range = |start: &str| Some(format!("bytes={start}-"));
    assert_eq!(scene.server.ranges(), [None, range("100000"), range("150000")]);
    assert_eq!(n_retries, 2);
}

#[test]
fn tries_end_and_the_next_run_goes_on() {
    let scene = Scene::new();
    scene.server.cdn([Fault::Cut(1000), Fault::Silent, Fault::Cut(0)]);
    let error = scene.fetch().expect_err("three failures");
    assert!(matches!(error, Error::Cut { .. }) && !error.to_string().contains("secret"), "{error}");
    assert_eq!(fs::metadata(scene.partial()).expect("kept").len(), 1000);
    let mut first = None;
    let found = scene.hub().fetch(&wanted(REPO), &mut |progress: &Progress| {
        if matches!(progress.step, Stage::Transferring) {
            first.get_or_insert(progress.n_done);
        }
        true
    });
    scene.assert_whole(&found.expect("fetched"));
    assert_eq!(first, Some(1000));
    assert_eq!(scene.server.ranges().last(), Some(&Some("bytes=1000-".to_owned())));
}

#[test]
fn a_long_file_may_be_cut_often() {
    let model = bytes(5 << 20);
    let scene = Scene::with(&[(NAME, model.clone())], model);
    scene.server.cdn([(); 4].map(|()| Fault::Cut(1 << 20)));
    scene.assert_whole(&scene.fetch().expect("fetched"));
    fs::remove_dir_all(scene.shelf()).expect("removable");
    // But not for ever from the beginning.
    scene.server.cdn([(); 5].into_iter().flat_map(|()| [Fault::Cut(1 << 20), Fault::Status(416, "")]));
    assert!(matches!(scene.fetch(), Err(Error::Cut { .. })));
}

#[test]
fn a_hub_that_ignores_the_range_starts_over() {
    let scene = Scene::new();
    scene.put_partial(&scene.model[..1000]);
    scene.server.cdn([Fault::IgnoreRange]);
    scene.assert_whole(&scene.fetch().expect("fetched"));
    assert_eq!(scene.server.ranges(), [Some("bytes=1000-".to_owned())]);
}

#[test]
fn a_wrong_range_is_not_appended() {
    for wrong in ["bytes 0-299999/300000", "bytes 1001-299999/300000", "bytes 1000-300000/300000", "nonsense"] {
        let scene = Scene::new();
        scene.put_partial(&scene.model[..1000]);
        scene.server.cdn([Fault::ContentRange(wrong)]);
        scene.assert_whole(&scene.fetch().expect("fetched"));
        assert_eq!(scene.server.ranges(), [Some("bytes=1000-".to_owned()), None], "{wrong}");
    }
    let scene = Scene::new();
    scene.put_partial(&scene.model[..1000]);
    scene.server.cdn([Fault::ContentRange("bytes 1000-299999/300001")]);
    assert!(matches!(scene.fetch(), Err(Error::Length { expected: 300_000, got: 300_001, .. })));
    let scene = Scene::new();
    scene.put_partial(&scene.model[..1000]);
    scene.server.cdn([Fault::Status(416, "Content-Range: bytes */7")]);
    scene.assert_whole(&scene.fetch().expect("fetched"));
}

#[test]
fn a_whole_partial_file_is_only_verified() {
    let scene = Scene::new();
    scene.put_partial(&scene.model);
    scene.assert_whole(&scene.fetch().expect("verified"));
    assert!(scene.server.ranges().is_empty());
    let scene = Scene::new();
    scene.put_partial(&[&scene.model[..], b"more"].concat());
    scene.assert_whole(&scene.fetch().expect("fetched"));
}

#[test]
fn wrong_bytes_never_get_the_name() {
    let scene = Scene::new();
    scene.server.cdn([Fault::WrongBytes]);
    let error = scene.fetch().expect_err("wrong bytes");
    let Error::Checksum { expected, got, .. } = &error else { panic!("{error}") };
    let wrong: Vec<u8> = scene.model.iter().map(|byte| !byte).collect();
    assert_eq!((expected, got), (&sha256(&scene.model), &sha256(&wrong)));
    assert!(!scene.partial().exists() && !scene.blob().exists());
    assert!(!scene.shelf().join("snapshots").exists() && !scene.shelf().join("refs").exists());
    // The resumed part counts too.
    scene.put_partial(b"not the beginning");
    assert!(matches!(scene.fetch(), Err(Error::Checksum { .. })));
    scene.assert_whole(&scene.fetch().expect("fetched anew"));
}

#[test]
fn lengths_are_checked() {
    let scene = Scene::new();
    scene.server.cdn([Fault::Longer(7)]);
    assert!(matches!(scene.fetch(), Err(Error::Length { expected: 300_000, got: 300_007, .. })));
    scene.server.cdn([Fault::Chunked(9)]);
    assert!(matches!(scene.fetch(), Err(Error::Length { .. })));
    assert!(!scene.blob().exists());
    scene.assert_whole(&scene.fetch().expect("fetched"));
}

#[test]
fn passing_failures_are_waited_for() {
    let scene = Scene::new();
    scene.server.api([Fault::Status(500, ""), Fault::Silent, Fault::None, Fault::Status(429, "Retry-After: 0")]);
    scene.server.resolve([Fault::Status(503, ""), Fault::None]);
    scene.server.cdn([Fault::Status(500, "")]);
    scene.assert_whole(&scene.fetch().expect("fetched"));
    let scene = Scene::new();
    scene.server.api([Fault::Status(429, "Retry-After: 3600")]);
    let error = scene.fetch().expect_err("an hour is too long");
    assert!(matches!(error, Error::Status { status: 429, .. }) && error.to_string().contains("3600"), "{error}");
    assert_eq!(scene.server.requests().len(), 1);
    scene.server.api([(); 3].map(|()| Fault::Status(502, "")));
    assert!(matches!(scene.fetch(), Err(Error::Status { status: 502, .. })));
}

#[test]
fn refusals_say_what_to_do() {
    for status in [401, 403] {
        let scene = Scene::new();
        scene.server.api([Fault::Status(status, "X-Error-Message: gated")]);
        let error = scene.fetch().expect_err("denied");
        assert!(
            matches!(error, Error::Denied { had_token: false, .. }) && error.to_string().contains("gated"),
            "{error}"
        );
        assert!(error.hint().expect("a hint").contains("set HF_TOKEN"));
        assert_eq!(scene.server.requests().len(), 1);
        scene.server.resolve([Fault::Status(status, "")]);
        let error = scene.hub_with(Some("hf_x"), false).fetch(&wanted(REPO), &mut |_| true).expect_err("denied");
        assert!(matches!(error, Error::Denied { had_token: true, .. }) && error.to_string().contains(NAME), "{error}");
    }
    let scene = Scene::new();
    let error = scene.hub().fetch(&wanted("user/other"), &mut |_| true).expect_err("not there");
    assert!(matches!(error, Error::NotFound { .. }) && error.to_string().contains("user/other"), "{error}");
    scene.server.resolve([Fault::Status(404, "")]);
    let error = scene.fetch().expect_err("not there");
    assert!(matches!(error, Error::NotFound { .. }) && error.to_string().contains(NAME), "{error}");
}

#[test]
fn the_token_stays_with_the_hub() {
    let scene = Scene::new();
    let found = scene.hub_with(Some("hf_secret"), false).fetch(&wanted(REPO), &mut |_| true);
    scene.assert_whole(&found.expect("fetched"));
    let requests = scene.server.requests();
    assert!(requests.iter().any(|request| request.on_cdn) && requests.iter().any(|request| !request.on_cdn));
    for request in requests {
        let sent = request.headers.get("authorization").map(String::as_str);
        assert_eq!(sent, if request.on_cdn { None } else { Some("Bearer hf_secret") }, "{}", request.target);
    }
}

#[test]
fn redirects_are_few_and_go_where_they_may() {
    let scene = Scene::new();
    let path = format!("/{REPO}/resolve/{COMMIT}/{NAME}");
    scene.server.resolve([(); 3].map(|()| Fault::Redirect(path.clone())));
    scene.assert_whole(&scene.fetch().expect("three are fine"));
    for to in [path.as_str(), "ftp://127.0.0.1/x", "file:///etc/passwd", "nowhere", "http://user@127.0.0.1/"] {
        let scene = Scene::new();
        scene.server.resolve([(); 9].map(|()| Fault::Redirect(to.to_owned())));
        assert!(matches!(scene.fetch(), Err(Error::Refused(_))), "{to}");
        assert!(scene.server.requests().len() <= 8 && scene.server.ranges().is_empty());
    }
    scene.server.resolve([Fault::Status(302, "")]);
    fs::remove_dir_all(scene.shelf()).expect("removable");
    assert!(matches!(scene.fetch(), Err(Error::Refused(_))));
}

#[test]
fn a_listing_may_have_pages() {
    let scene = Scene::new();
    scene.server.pages_of(1);
    scene.assert_whole(&scene.fetch().expect("fetched"));
    assert!(scene.server.requests().iter().filter(|request| request.target.contains("/tree/")).count() >= 5);
}

#[test]
fn an_endless_or_leaving_listing_is_refused() {
    let scene = Scene::new();
    scene.server.pages_of(1);
    let own = format!("{}/api/models/{REPO}/tree/{COMMIT}?cursor=99", scene.server.endpoint);
    for (link, n_requests) in [(own, 51), (format!("{}/api", scene.server.cdn), 2), ("ftp://x/".to_owned(), 2)] {
        let n_before = scene.server.requests().len();
        scene.server.link(&link);
        assert!(matches!(scene.fetch(), Err(Error::Refused(_))), "{link}");
        assert_eq!(scene.server.requests().len() - n_before, n_requests, "{link}");
    }
}

#[test]
fn a_hostile_listing_writes_nothing() {
    let oid = sha256(b"x");
    let file = |path: &str, size: Value, oid: &str| json!([{"type": "file", "path": path, "size": size, "lfs": {"oid": oid, "size": size}}]);
    let huge = "x".repeat(17 << 20);
    for listing in [
        file("../../x-Q4_K_M.gguf", 1.into(), &oid),
        file("/tmp/x.gguf", 1.into(), &oid),
        file("a\\..\\x.gguf", 1.into(), &oid),
        file("a\u{0}.gguf", 1.into(), &oid),
        file("\u{1b}[2J.gguf", 1.into(), &oid),
        file("nul.gguf", 1.into(), &oid),
        file(&format!("{}.gguf", "x".repeat(300)), 1.into(), &oid),
        file("x.gguf", (-1).into(), &oid),
        file("x.gguf", u64::MAX.into(), &oid),
        file("x.gguf", 1.into(), "../../../x"),
        file("x.gguf", 1.into(), ""),
        json!([entry("x.gguf", b"x"), entry("x.gguf", b"y")]),
        json!([{"type": "file", "path": "x.gguf", "size": 1}]),
        json!({"error": "no"}),
        json!([{"path": 5}]),
        json!([huge]),
        json!([]),
    ] {
        let scene = Scene::new();
        let shown: String = listing.to_string().chars().take(200).collect();
        scene.server.listing(listing);
        let error = scene.fetch().expect_err(&shown);
        assert!(!error.to_string().contains(['\u{0}', '\u{1b}']), "{error:?}");
        assert!(scene.server.ranges().is_empty() && n_files(&scene.root()) == 0, "{shown}: {error}");
    }
    for sha in [json!("../../../x"), json!("main"), json!(5)] {
        let scene = Scene::new();
        scene.server.revision(json!({"sha": sha}));
        assert!(matches!(scene.fetch(), Err(Error::Refused(_))), "{sha}");
    }
}

#[test]
fn a_file_without_sha256_is_refused_with_the_reason() {
    let scene = Scene::new();
    scene.server.listing(json!([{"type": "file", "path": NAME, "size": 300_000, "oid": "0".repeat(40)}]));
    let error = scene.fetch().expect_err("not verifiable");
    assert!(matches!(error, Error::Unverifiable { .. }) && error.to_string().contains("SHA-256"), "{error}");
}

#[test]
fn what_does_not_fit_is_not_begun() {
    let scene = Scene::new();
    let size = 1_u64 << 44;
    scene
        .server
        .listing(json!([{"type": "file", "path": NAME, "size": size, "lfs": {"oid": sha256(b"x"), "size": size}}]));
    if fs4::available_space(scene.root()).expect("known") >= size {
        return;
    }
    assert!(matches!(scene.fetch(), Err(Error::Space { needed, .. }) if needed == size));
    assert!(scene.server.ranges().is_empty());
    // What is there of it already is not needed again.
    let partial = scene.shelf().join("blobs").join(sha256(b"x")).with_extension("incomplete");
    fs::write(partial, bytes(1000)).expect("writable");
    assert!(matches!(scene.fetch(), Err(Error::Space { needed, .. }) if needed == size - 1000));
}

#[test]
fn only_the_cache_is_looked_at_offline() {
    let scene = Scene::new();
    let error = scene.hub_with(None, true).fetch(&wanted(REPO), &mut |_| true).expect_err("an empty cache");
    assert!(matches!(error, Error::Offline { .. }) && error.to_string().contains("offline"), "{error}");
    assert_eq!(n_files(&scene.root()), 0);
    scene.fetch().expect("fetched");
    let n_before = scene.server.requests().len();
    let offline = scene.hub().with_offline(true);
    scene.assert_whole(&offline.fetch(&wanted(REPO), &mut |_| true).expect("cached"));
    let error = offline.fetch(&wanted("user/repo:Q8_0"), &mut |_| true).expect_err("not cached");
    assert!(matches!(error, Error::NotCached { .. }) && error.to_string().contains("Q8_0"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("--offline") && hint.contains(NAME)));
    let commit = Wanted { revision: Some(COMMIT.to_owned()), ..wanted(REPO) };
    scene.assert_whole(&offline.fetch(&commit, &mut |_| true).expect("cached"));
    assert_eq!(scene.server.requests().len(), n_before);
    fs::write(scene.shelf().join("refs/main"), "../../../../etc").expect("writable");
    assert!(matches!(offline.fetch(&wanted(REPO), &mut |_| true), Err(Error::Offline { .. })));
}

#[test]
fn an_incomplete_split_model_is_missed_offline() {
    let name = |i: usize| format!("m-Q4_K_M-{i:05}-of-00002.gguf");
    let scene = Scene::with(&[(&name(1), bytes(5)), (&name(2), bytes(6))], bytes(5));
    scene.fetch().expect("fetched");
    let offline = scene.hub_with(None, true);
    offline.fetch(&wanted(REPO), &mut |_| true).expect("cached");
    fs::remove_file(scene.shelf().join("blobs").join(sha256(&bytes(6)))).expect("removable");
    let error = offline.fetch(&wanted(REPO), &mut |_| true).expect_err("a part is missing");
    assert!(error.to_string().contains(&name(2)), "{error}");
}

#[test]
fn the_cache_serves_while_the_hub_is_away() {
    let scene = Scene::new();
    scene.fetch().expect("fetched");
    scene.server.api([(); 3].map(|()| Fault::Status(503, "")));
    let found = scene.fetch().expect("cached");
    scene.assert_whole(&found);
    assert!(matches!(found.unasked, Some(Error::Status { status: 503, .. })));
    // What the hub says is another thing than silence.
    scene.server.api([Fault::Status(401, "")]);
    assert!(matches!(scene.fetch(), Err(Error::Denied { .. })));
    let nowhere = HubServer::start(&[]).endpoint.clone();
    let hub = |cache: &Path| Hub::new(&nowhere, None, cache, false).expect("valid").with_patience(patience());
    let found = hub(&scene.root()).fetch(&wanted(REPO), &mut |_| true).expect("cached");
    assert!(found.unasked.is_some());
    let error = hub(&scene.root().join("empty")).fetch(&wanted(REPO), &mut |_| true).expect_err("nothing there");
    assert!(matches!(error, Error::Cut { .. } | Error::Unreachable { .. }), "{error}");
}

#[test]
fn a_cancelled_transfer_keeps_what_it_has() {
    let scene = Scene::new();
    let mut until = |progress: &Progress| progress.n_done < 100_000;
    assert!(matches!(scene.hub().fetch(&wanted(REPO), &mut until), Err(Error::Cancelled)));
    let n_kept = fs::metadata(scene.partial()).expect("kept").len();
    assert!((100_000..300_000).contains(&n_kept));
    scene.assert_whole(&scene.fetch().expect("resumed"));
    assert_eq!(scene.server.ranges().last(), Some(&Some(format!("bytes={n_kept}-"))));
    let waiting = &mut |progress: &Progress| !matches!(progress.step, Stage::Retrying { .. });
    scene.server.api([Fault::Status(500, "")]);
    assert!(matches!(scene.hub().fetch(&wanted(REPO), waiting), Err(Error::Cancelled)));
}

#[test]
fn one_of_two_transfers_the_other_waits() {
    let scene = Scene::new();
    let fetch = || scene.assert_whole(&scene.fetch().expect("fetched"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(fetch);
        }
    });
    assert_eq!(scene.server.ranges(), [None]);
}

#[test]
fn a_held_lock_can_be_left() {
    let scene = Scene::new();
    let locks = scene.root().join(".locks").join(SHELF);
    fs::create_dir_all(&locks).expect("writable");
    let lock = fs::File::create(locks.join(format!("{}.lock", sha256(&scene.model)))).expect("writable");
    assert!(fs4::fs_std::FileExt::try_lock_exclusive(&lock).expect("lockable"));
    let unless_queued = &mut |progress: &Progress| !matches!(progress.step, Stage::Queued);
    assert!(matches!(scene.hub().fetch(&wanted(REPO), unless_queued), Err(Error::Cancelled)));
    drop(lock);
    scene.assert_whole(&scene.fetch().expect("fetched"));
}

#[test]
#[cfg(unix)]
fn links_out_of_the_cache_are_not_written_through() {
    use std::os::unix::fs::symlink;

    let outside = tempfile::tempdir().expect("a temporary folder");
    let victim = outside.path().join("victim");
    let sha = sha256(&bytes(300_000));
    let names = [
        SHELF.to_owned(),
        format!("{SHELF}/blobs"),
        format!("{SHELF}/snapshots"),
        format!("{SHELF}/snapshots/{COMMIT}"),
        format!("{SHELF}/refs"),
        ".locks".to_owned(),
    ];
    for name in names {
        let scene = Scene::new();
        let path = scene.root().join(&name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        symlink(outside.path(), &path).expect("linkable");
        let error = scene.fetch().expect_err(&name);
        assert!(matches!(error, Error::Place { .. }), "{name}: {error}");
        assert_eq!(n_files(outside.path()), 0, "{name}");
    }
    for name in [format!("{SHELF}/blobs/{sha}.incomplete"), format!(".locks/{SHELF}/{sha}.lock")] {
        for n_there in [0, 1000] {
            let scene = Scene::new();
            fs::write(&victim, bytes(n_there)).expect("writable");
            let path = scene.root().join(&name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            symlink(&victim, &path).expect("linkable");
            assert!(matches!(scene.fetch(), Err(Error::Place { .. })), "{name}");
            assert_eq!(fs::read(&victim).expect("there"), bytes(n_there));
        }
    }
    // A name that is taken by a link is replaced, not followed.
    let scene = Scene::new();
    fs::write(&victim, b"mine").expect("writable");
    for name in [format!("snapshots/{COMMIT}/{NAME}"), format!("blobs/{sha}"), "refs/main".to_owned()] {
        let path = scene.shelf().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        symlink(&victim, &path).expect("linkable");
    }
    scene.assert_whole(&scene.fetch().expect("fetched"));
    assert_eq!(fs::read(&victim).expect("there"), b"mine");
    // The cache itself may be anywhere.
    let scene = Scene::new();
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let link = elsewhere.path().join("cache");
    symlink(scene.root(), &link).expect("linkable");
    let hub = Hub::new(&scene.server.endpoint, None, &link, false).expect("valid");
    scene.assert_whole(&hub.fetch(&wanted(REPO), &mut |_| true).expect("fetched"));
}
