//! Jinja as Hugging Face's templates use it.

use jiff::{Timestamp, tz::TimeZone};

use super::*;

#[test]
fn expressions_and_methods() {
    for (source, expected) in [
        ("{{ 'a,b'.split(',')[-1].upper() }}", "B"),
        ("{{ '<think>x</think>\n\ny'.split('</think>')[-1].lstrip('\\n') }}", "y"),
        ("{{ messages | length }}{{ messages[0].content | length }}", "15"),
        ("{{ messages[0].get('name', 'nobody') }}", "nobody"),
        ("{{ tools is none }}{{ nothing is defined }}", "TrueFalse"),
        ("{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{% endfor %}", "b1a2"),
        (
            "{% for n in range(9) if n % 2 %}{% if n > 4 %}{% break %}{% endif %}{% if n == 1 %}{% continue %}{% endif %}{{ n }}{% endfor %}",
            "3",
        ),
        (
            "{% for n in range(3) %}{{ loop.previtem }}{{ loop.index }}{{ ',' if not loop.last }}{% else %}none{% endfor %}",
            "1,02,13",
        ),
        ("{% macro f(a, b='y') %}{{ a ~ b }}{% endmacro %}{{ f('x') }}{{ f(b='z', a=1) }}", "xy1z"),
        ("{% macro f(a) -%}\n  {{ a }}\n{%- endmacro %}{{ f('x') }}", "x"),
        ("{% set ns = namespace(x=0) %}{% for n in range(4) %}{% set ns.x = ns.x + n %}{% endfor %}{{ ns.x }}", "6"),
        ("{% set ns = namespace() %}{% set ns.l = [1] %}{% set ns.l = ns.l + [2] %}{{ ns.l[1] }}", "2"),
        ("{% set a, b = 1, [2, 3] %}{{ a }}{{ b[1] }}", "13"),
        ("{% set x %}in a block{% endset %}{{ x }}", "in a block"),
        ("{% for m in messages[::-1] %}{{ m.role }}{% endfor %}", "user"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
        ("{% generation %}\nx\n{%- endgeneration %}", "x"),
        ("{% raw %}{{ x }}{% endraw %}{# {{ y }} #}", "{{ x }}"),
        ("{% set ns = namespace({'a': 1}, b=[2]) %}{% set ns.c = 3 %}{{ ns.a }}{{ ns.b }}{{ ns.c }}", "1[2]3"),
        ("{% set n = 2 %}{{ n * 3 }}{{ (n + 1) * n }}{{ loops * 2 if loops is defined }}", "66"),
        (
            "{{ none is iterable }}{{ 'a' is iterable }}{{ messages is iterable }}{{ 1 is iterable }}",
            "FalseTrueTrueFalse",
        ),
        ("{{ '-' * 3 }}{{ {'a': {'b': '}}'}}['a']['b'] }}", "---}}"),
        ("  {% if true %}\n  a\n  {% endif %}\nb\n", "  a\nb"),
        ("{{ '%s-%d' | format('a', 1) }}{{ 'x' if messages[0].content.startswith('hel') else 'y' }}", "a-1x"),
    ] {
        assert_eq!(
            shown(&render(source, &["user: hello"]).unwrap_or_else(|error| panic!("{source}: {error}"))),
            expected,
            "{source}"
        );
    }
}

#[test]
fn json_is_pythons() {
    for (source, expected) in [
        (
            "{{ {'b': [1, 2.0, none, true], 'a': '<é\"\\n>'} | tojson }}",
            r#"{"b": [1, 2.0, null, true], "a": "<é\"\n>"}"#,
        ),
        ("{{ {'a': [1, {}], 'b': []} | tojson(indent=2) }}", "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}"),
        ("{{ [1, {'a': 2}] | tojson(separators=(',', ':'), ensure_ascii=False) }}", r#"[1,{"a":2}]"#),
        ("{{ messages | tojson }}", r#"[{"role": "user", "content": "⟨hello⟩"}]"#),
        ("{{ messages[0].content | tojson }}", "\"⟨hello⟩\""),
    ] {
        assert_eq!(shown(&render(source, &["user: hello"]).expect(source)), expected);
    }
    assert_eq!(
        shown(&render("{{ messages[0].content | tojson }}", &["user: \"<s>\""]).expect("renders")),
        r#""⟨\"<s>\"⟩""#
    );
}

#[test]
fn dates_come_from_the_clock() {
    let clock = || Timestamp::from_second(1_720_000_000).expect("in range").to_zoned_datetime(TimeZone::UTC);
    let source = "{{ strftime_now('%d %b %Y, %H:%M %!') }} {{ strftime_now('%A') if strftime_now is defined }}";
    let dated = View { template: Some(Arc::new(template(source).with_clock(clock))), ..View::default() };
    assert_eq!(shown(&dated.render(&conversation(&[])).expect("renders")), "03 Jul 2024, 09:46 %! Wednesday");
    assert!(render("{{ strftime_now('%Y' * 1000) }}", &[]).is_err());
}

#[test]
fn errors_say_where_and_what() {
    let syntax = |source| Template::new(source, "", "").expect_err("not valid").to_string();
    assert_eq!(syntax("a\n{% if %}"), "the chat template is not valid in line 2: unexpected end of block");
    assert_eq!(syntax("a\n\n{{ 'x }}"), "the chat template is not valid in line 3: a string does not end");
    assert!(syntax("{% nonsense %}").contains("nonsense"));
    assert!(syntax(&" ".repeat(1 << 20)).contains("expected at most"));
    let error = render("a\n{{ raise_exception('no ' + messages[0].content) }}", &["user: dice"]).expect_err("raised");
    assert_eq!(error.to_string(), "the chat template failed in line 2: no dice");
    assert!(error.hint().is_some());
    let error = render("{{ nothing.at.all }}", &[]).expect_err("undefined");
    assert!(matches!(error, Error::Render { line: Some(1), .. }), "{error}");
}

#[test]
fn templates_are_equal_by_what_they_are_made_of() {
    assert_eq!(template("a"), template("a"));
    assert_ne!(template("a"), template("b"));
    assert_ne!(template("a"), Template::new("a", "", "</s>").expect("valid"));
}
