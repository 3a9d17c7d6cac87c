//! What a server cannot be started with.

use crate::command_line::refused;

#[test]
fn what_no_server_could_keep_to_is_refused_before_it_listens() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "# none yet\n\n").expect("writable");
    let keys = keys.to_str().expect("UTF-8");
    for (args, words) in [
        (&["--api-key-file", keys][..], "none is given"),
        (&["--api-key", ""], "none is given"),
        (&["-a", "a:b"], "a:b"),
        (&["-a", ""], "--alias"),
        (&["-np", "0"], "1 or more"),
        (&["--queue", "-1"], "-1 is not in 0..=65536"),
        (&["--api-prefix", "api"], "begins with a slash"),
        (&["--api-prefix", "/{id}"], "begins with a slash"),
        (&["--cors-origins", "a.example"], "--cors-origins"),
        (&["--grammar", "root ::= ((("], "the grammar is not valid"),
        (&["--json-schema", "x"], "not JSON"),
        (&["-R", "demo", "-R", "demo"], "two recipes"),
        (&["-R", "demo", "-R", "plays", "-a", "x"], "several recipes"),
    ] {
        let said = refused(&[&["serve", "--port", "0"], args].concat(), 2);
        assert!(said.contains(words) && !said.contains("listening"), "{args:?}: {said}");
    }
}

#[test]
fn a_port_that_is_taken_is_said_to_be() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let said = refused(&["serve", "--port", &port], 1);
    assert!(said.contains("in use") && said.contains("another program has the port"), "{said}");
}
