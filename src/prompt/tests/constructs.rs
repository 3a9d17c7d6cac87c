//! Jinja as Hugging Face's templates use it.

use jiff::{Timestamp, tz::TimeZone};

use super::*;

/// With a user's hello.
#[track_caller]
fn all_are(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        let pieces = render(source, &["user: hello"]).unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(shown(&pieces), *expected, "{source}");
    }
}

#[test]
fn expressions_and_methods() {
    all_are(&[
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
    ]);
}

/// Blocks that give values names in ways of their own.
#[test]
fn blocks() {
    all_are(&[
        ("{% macro f(a) %}<{{ a }}{{ caller() }}>{% endmacro %}{% call f(1) %}b{% endcall %}", "<1b>"),
        (
            "{% macro f(a) %}{{ caller(a, a + 1) }}{% endmacro %}{% call(x, y=0) f(1) %}{{ x }}{{ y }}{% endcall %}",
            "12",
        ),
        (
            "{% macro f() %}{{ caller() if caller is defined else '-' }}{% endmacro %}{{ f() }}{% call f() %}x{% endcall %}",
            "-x",
        ),
        (
            "{% macro g() %}[{{ caller() }}]{% endmacro %}{% macro h(x) %}{% call g() %}{{ x }}{% endcall %}{% endmacro %}{{ h(1) }}",
            "[1]",
        ),
        ("{% with x = 1, y = [2, 3] %}{{ x }}{{ y[1] }}{% endwith %}{{ x is defined }}", "13False"),
        ("{% with (a, b) = (1, 2) %}{{ b }}{{ a }}{% endwith %}{% with %}x{% endwith %}", "21x"),
        (
            "{% for x in [1, [2, [3]], 4] recursive %}{{ loop.depth }}{{ loop(x) if x is iterable else x }} {% endfor %}",
            "11 122 233   14 ",
        ),
        (
            "{% for x in [{'n': 'a', 'c': [{'n': 'b', 'c': []}]}] recursive %}({{ x.n }}{{ loop(x.c) }}){% endfor %}",
            "(a(b))",
        ),
        ("{% for x in [1, [2], 3] if x recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}", "123"),
        ("{% set x | upper %}a{% endset %}{{ x }}{% filter upper %}b{% endfilter %}", "AB"),
        ("{% set ns = namespace(a=1) %}{% set l = [ns] + [{'a': 2}] %}{% for x in l %}{{ x.a }}{% endfor %}", "12"),
        ("{% set ns = namespace(a=1) %}{% for x in [ns] %}{% set x.a = 3 %}{% endfor %}{{ ns.a }}", "3"),
        ("{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(1, **{'b': 3}) }}", "1213"),
    ]);
}

#[test]
fn strings_and_slices_of_python() {
    all_are(&[
        ("{{ 'a,b,c'.rsplit(',', 1) | join('|') }}{{ 'a,b,c'.rsplit(',') | length }}", "a,b|c3"),
        ("{{ ' a  b c '.rsplit(none, 1) | join('|') }}{{ ' a b '.rsplit() | join('|') }}", " a  b|ca|b"),
        ("{{ 'a=b=c'.partition('=') | join('|') }}{{ 'a=b=c'.rpartition('=') | join('|') }}", "a|=|b=ca=b|=|c"),
        ("{{ 'a'.partition('=') | join('|') }}{{ 'a'.rpartition('=') | join('|') }}", "a||||a"),
        ("{{ 'abc'.removeprefix('ab') }}{{ 'abc'.removesuffix('x') }}{{ 'abc'.removesuffix('bc') }}", "cabca"),
        ("{{ '%s-%d' % ('a', 1) }}{{ '%s' % messages[0].role }}{{ '%05.2f|%%' % 3.14159 }}", "a-1user03.14|%"),
        ("{% set pair = (1, 'b') %}{{ '%s=%s' % pair }}{{ '<' ~ '%s' % 'x' | upper ~ '>' }}{{ 7 % 4 }}", "1=b<X>3"),
        ("{{ 'abcdef'[1:3] }}{{ 'abcdef'[::-1] }}{{ 'abcdef'[-2:] }}{{ 'abc'[:9] }}{{ 'abc'[5:] }}", "bcfedcbaefabc"),
        (
            "{{ [1, 2, 3, 4][1:-1] }}{{ (1, 2, 3)[::2] }}{{ [[1, 2, 3]][0][1:][0] }}{{ [1, 2][::-1][:1] }}",
            "[2, 3](1, 3)2[2]",
        ),
        ("{% set n = [1, 2] %}{{ 'abcd'[n[0]:n[1:][0] + 1].upper() }}{{ ''[1:] | length }}", "BC0"),
        ("{{ '&<>\\'\"' | e }}", "&amp;&lt;&gt;&#39;&#34;"),
        ("{{ é }}{% set 你 = 1 %}{{ 你 + 1 }}", "2"),
    ]);
}

#[test]
fn slices_of_messages_stay_content() {
    let hello = &["user: hello <b>"];
    check("{{ messages[0].content[1:] }}-{{ messages[0]['content'][:2] }}", hello, "⟨ello <b>⟩-⟨he⟩");
    check("{{ messages[0].content[:6] | trim }}>{{ messages[0].content[5:] }}", hello, "⟨hello⟩> ⟨<b>⟩");
    check("{% if messages[0].content[:2] == '[T' %}T{% endif %}{{ messages[0].content }}", hello, "⟨hello <b>⟩");
    check("{{ messages[0].content[messages[0].content.find('<'):] }}", hello, "⟨<b>⟩");
    check(
        "{{ messages[0].content.removeprefix('hel') }}-{{ messages[0].content.strip('h>') }}",
        hello,
        "⟨lo <b>⟩-⟨ello <b⟩",
    );
}

#[test]
fn line_ends_are_pythons() {
    check("{% if true %}\r\na\r{% endif %}\r\nb\r\n\r\n", &[], "a\nb\n");
    check("a\n", &[], "a");
    check("{{ 'a\r\nb' }}\r", &[], "a\nb");
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
        ("{{ {'b': 1, 'a': [{'d': 1, 'c': 2}]} | tojson(sort_keys=True) }}", r#"{"a": [{"c": 2, "d": 1}], "b": 1}"#),
        ("{{ 'é🙂' | tojson(ensure_ascii=true) }}", r#""\u00e9\ud83d\ude42""#),
        ("{{ messages[0].content | tojson(ensure_ascii=true) }}", "\"⟨hello⟩\""),
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
