//! System messages that a template refuses or leaves out, and views with words of their own.

use super::*;

const REFUSES: &str = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}\
                       [{{ m.content }}]{% endfor %}";
const DROPS: &str = "{% for m in messages if m.role != 'system' %}[{{ m.content }}]{% endfor %}";
const TAKES: &str = "{% for m in messages %}{{ m.role[0] }}[{{ m.content }}]{% endfor %}";

#[test]
fn the_system_text_goes_in_front_of_the_first_user_message() {
    for source in [REFUSES, DROPS] {
        check(source, &["system: S", "user: a", "assistant: b", "user: c"], "[⟨S\n\na⟩][⟨b⟩][⟨c⟩]");
        check(source, &["system: S", "system: T", "user: a"], "[⟨S\n\nT\n\na⟩]");
        check(source, &["system: S"], "[⟨S⟩]");
        check(source, &["system: ", "user: a"], "[⟨a⟩]");
    }
    check(TAKES, &["system: S", "user: a"], "s[⟨S⟩]u[⟨a⟩]");
}

#[test]
fn when_both_ways_fail_the_template_says_why() {
    let error = render("{{ raise_exception('never') }}", &["system: S", "user: a"]).expect_err("raised");
    assert_eq!(error.to_string(), "the chat template failed in line 1: never");
}

#[test]
fn a_view_has_words_of_its_own() {
    let mut talk = conversation(&["system: S", "user: a", "assistant: b", "user: c"]);
    talk.prefix = "P".into();
    let own = |source, system: Option<&str>, prefix: Option<&str>, prompt: Option<&str>| {
        let [system, prefix, prompt] = [system, prefix, prompt].map(|text| text.map(str::to_owned));
        shown(&View { system, prefix, prompt, ..view(source) }.render(&talk).expect("renders"))
    };
    assert_eq!(own(TAKES, Some("T"), None, None), "s[⟨T⟩]u[⟨a⟩]a[⟨b⟩]u[⟨c⟩]⟨P⟩");
    assert_eq!(own(TAKES, Some(""), Some("> "), None), "u[⟨> a⟩]a[⟨b⟩]u[⟨c⟩]⟨P⟩");
    assert_eq!(own(REFUSES, None, Some("> "), None), "[⟨S\n\n> a⟩][⟨b⟩][⟨c⟩]⟨P⟩");
    assert_eq!(own(TAKES, None, None, Some("no")), "s[⟨S⟩]u[⟨no⟩]⟨P⟩");
    assert_eq!(own(TAKES, None, None, Some("")), "s[⟨S⟩]⟨P⟩");
    assert_eq!(own(REFUSES, Some(""), None, Some("no")), "[⟨no⟩]⟨P⟩");
    let needs_one =
        "{% if messages[0].role == 'user' %}[{{ messages[0].content }}]{% else %}{{ raise_exception('!') }}{% endif %}";
    assert_eq!(own(needs_one, Some(""), None, Some("")), "[]⟨P⟩");
}
