//! Templates that mean harm end with an error, on a small stack.

use std::time::Instant;

use super::*;

const STACK_BYTES: usize = 2 << 20;

/// What becomes of a template on a small stack; with `--nocapture` it tells how long that took.
fn fate(source: String) -> Result<String, Error> {
    let run = move || {
        let start = Instant::now();
        let talk = conversation(&["system: S", "user: hello", "assistant: b", "user: c"]);
        let fate = Template::new(&source, "<s>", "</s>")
            .and_then(|template| View { template: Some(Arc::new(template)), ..View::default() }.render(&talk));
        let begin: String = source.chars().take(100).collect();
        println!("{:8.2} ms  {begin}  {:?}", start.elapsed().as_secs_f64() * 1e3, fate.as_ref().map(Vec::len));
        fate.map(|pieces| shown(&pieces))
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).expect("a thread").join().expect("no panic")
}

#[track_caller]
fn all_fail(sources: &[&str]) {
    for source in sources {
        let fate = fate((*source).to_owned());
        assert!(fate.is_err(), "{source}: {} bytes", fate.map_or(0, |text| text.len()));
    }
}

/// A value named `ns.x` that grows by `grow` in each of `n` rounds, and then `end`.
fn grown(grow: &str, n: usize, end: &str) -> String {
    format!("{{% set ns = namespace(x=[1], y=[1]) %}}{{% for i in range({n}) %}}{grow}{{% endfor %}}{end}")
}

#[test]
fn loops_without_end() {
    let nested = "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}x{% endfor %}{% endfor %}{% endfor %}";
    all_fail(&[
        nested,
        &nested.replace("1000", "100000"),
        "{% for a in range(1000) %}{% for b in range(1000) %}{% set x = a %}{% endfor %}{% endfor %}",
        "{{ range(100000) | list | map('string') | join }}{{ range(10000000000) }}",
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{% macro f(x) %}{{ f(x) ~ f(x) }}{% endmacro %}{{ f(1) }}",
        "{% macro f(x) %}{% if x %}{{ f(x - 1) ~ f(x - 1) }}{% endif %}{% endmacro %}{{ f(25) }}",
        "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
        "{% for x in [1] recursive %}{{ loop([x, x]) }}{{ loop([x, x]) }}{% endfor %}",
        "{% macro f() %}{% call f() %}{% endcall %}{% endmacro %}{{ f() }}",
        "{% macro f() %}{{ caller() }}{{ caller() }}{% endmacro %}{% macro g(n) %}{% call f() %}{{ g(n + 1) }}{% endcall %}{% endmacro %}{{ g(0) }}",
    ]);
}

/// What the engine panics at is an error like others.
#[test]
fn faults_of_the_engine() {
    let zeros = ["0", "0.0", "false", "(1 - 1)", "messages[0].content | int(0)"];
    for op in ["/", "//", "%"] {
        for zero in zeros {
            for one in ["1", "-1", "1.5", "true", "messages | length"] {
                let _ = fate(format!("{{{{ {one} {op} ({zero}) }}}}"));
            }
        }
    }
    let big = [
        "9223372036854775807",
        "-9223372036854775808",
        "170141183460469231731687303715884105727",
        "1e308",
        "(0 - 2**127)",
    ];
    for op in ["/", "//", "%", "**", "*", "-", "+"] {
        for a in big {
            for b in big.iter().chain(&["-1", "0", "2", "0.5"]) {
                let _ = fate(format!("{{{{ {a} {op} {b} }}}}"));
                let _ = fate(format!(
                    "{{% set a = {a} %}}{{% set b = {b} %}}{{{{ a {op} b }}}}{{{{ -a }}}}{{{{ a | abs }}}}"
                ));
            }
        }
    }
    all_fail(&["{{ 1 // 0 }}", "{% set n = 0 %}{{ 1 % n }}", "{% for x in [1] %}{{ loop.cycle() }}{% endfor %}"]);
    let error = fate("{% set n = 0 %}\n{{ 1 // n }}".into()).expect_err("a division by zero");
    assert!(matches!(error, Error::Render { .. }), "{error}");
    for source in [
        "{{ '%c' % 1114112 }}{{ '%c' | format(-1) }}",
        "{{ range(0, 10, 0) }}",
        "{{ [1, 2] | batch(0) | list }}",
        "{{ [1, 2] | slice(0) | list }}",
        "{{ 'abc'[::0] }}",
        "{{ 'abc'[-9223372036854775808:9223372036854775807:-9223372036854775808] }}",
        "{{ [1][-9223372036854775808] }}{{ 'a'[170141183460469231731687303715884105727] }}",
        "{{ 'a' | center(18446744073709551615) }}",
        "{{ 1 | round(400) }}{{ 1.5 | round(-400) }}",
        "{{ 'é' | truncate(1) }}{{ 'éa' | wordwrap(1) }}",
        "{{ 'a'.split('') }}{{ 'a'.rsplit('') }}{{ 'a'.count('') }}{{ 'a'.replace('', 'b') }}",
        "{{ 'é'.find('', 9) }}{{ 'éé'.startswith('é', 1, 0) }}",
        "{{ é }}{{ \u{2028} }}{{ 1é }}{{ x.é }}{%é%}",
    ] {
        let _ = fate(source.into());
    }
    // More lines than the engine counts.
    let _ = fate("\n".repeat(70_000) + "{{ x }}");
    let _ = fate("{{ x".to_owned() + &"\n".repeat(70_000) + "}}");
}

#[test]
fn text_without_end() {
    all_fail(&[
        "{{ 'a' * 10**9 }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 'a' * 10000000 }}",
        "{% set n = 10**9 %}{{ 'a' * n }}",
        &grown("{% set ns.x = ns.x | string + ns.x | string %}", 100, ""),
        &grown("{% set ns.x = ns.x ~ ns.x %}", 100, ""),
        "{% set s = 'a' * 100000 %}{% for i in range(1000) %}{{ s }}{% endfor %}",
        "{% set s = 'a' * 100000 %}{{ s.join(range(1000)) }}",
        "{% set s = 'a' * 100000 %}{{ s.replace('a', s) }}{{ s | replace('a', s) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '%*d' | format(1000000000, 1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 1000000000) }}",
        "{{ ('{:' ~ 1000000000 ~ '}').format(1) }}",
        "{{ '{:٣٣٣٣}'.format(1) }}{{ '{:999}'.format(1) * 100000 }}",
        "{{ [1] | tojson(indent=1000000000) }}",
        "{{ 'a\nb' | indent(1000000000) }}",
        "{{ [1] * 100000000 }}",
        "{% set x = [1] %}{{ x * 100000000 }}",
        "{% set x = [1] %}{{ 100000000 * x }}",
        "{{ 100000000 * 'a b'.split(' ') }}",
        "{{ 100000000 * 'a b' | list }}",
        "{% set x = 'ab' %}{{ 100000000 * x | list }}",
        "{% set x = {'y': [1]} %}{{ 100000000 * x.y }}",
        "{% set x = [1] %}{% if [x * 100000000] == [[1] * 100000000] %}{% endif %}",
        "{{ strftime_now('%1000000000Y') * 100000 }}",
        "{{ strftime_now('%c' * 100000) }}",
    ]);
}

#[test]
fn work_on_long_texts() {
    let texts = "{% set a = 'a' * 200000 %}{% set b = 'a' * 199999 + 'b' %}";
    let over = |what: &str| {
        let source = format!(
            "{texts}{{% for i in range(1000) %}}{{% for j in range(1000) %}}{what}{{% endfor %}}{{% endfor %}}"
        );
        assert_eq!(fate(source), Err(Error::Work), "{what}");
    };
    for what in [
        "{% if a == b %}{% endif %}",
        "{% if a < b %}{% endif %}",
        "{% if 'b' in a %}{% endif %}",
        "{% if a.count('b') %}{% endif %}",
        "{% if a.isalpha() %}{% endif %}",
        "{% if a.find('ab') %}{% endif %}",
        "{% if a | length %}{% endif %}",
        "{% if a[-1] %}{% endif %}",
        "{% if a is eq b %}{% endif %}",
        "{% if a is startingwith b %}{% endif %}",
        "{% if {a: 1} %}{% endif %}",
        "{% if messages[0][a] %}{% endif %}",
        "{% if a is lower %}{% endif %}",
        "{% if a | float(1) %}{% endif %}",
        "{% if [a, b] == [b, a] %}{% endif %}",
        "{% if [a, a, a, a, a, a, a, a, a] == [b, b, b, b, b, b, b, b, b] %}{% endif %}",
    ] {
        over(what);
    }
}

#[test]
fn values_that_hold_themselves() {
    let sinks = [
        "{{ ns }}",
        "{{ '' ~ ns }}",
        "{{ ns | string }}",
        "{{ [ns] | join }}",
        "{{ ns | pprint }}",
        "{{ ns == ns }}",
        "{{ ns in 'abc' }}",
        "{{ '%s' | format(ns) }}",
        "{{ '{}'.format(ns) }}",
        "{{ {ns: 1} }}",
        "{{ ns | tojson }}",
        "{{ [ns, ns] | unique | list }}",
        "{{ [ns, ns] | sort }}",
        "{{ ns + 1 }}",
    ];
    for sink in sinks {
        for knot in [
            "{% set ns.x = ns %}",
            "{% set ns.x = [ns] %}",
            "{% set (ns.x) = ns %}",
            "{% set ns.x, ns.y = ns, ns %}",
            "{% set ns.x = namespace(x=ns) %}",
            "{% set b = namespace(x=ns) %}{% set ns.x = b %}",
            "{% set y = [ns] %}{% set ns.x = y %}",
            "{% set ns.x = {'a': ns}.values() %}",
        ] {
            assert!(fate(format!("{{% set ns = namespace() %}}{knot}{sink}")).is_err());
        }
    }
    let through_a_macro =
        "{% macro f(a, b) %}{% set a.x = b %}{% endmacro %}{% set ns = namespace() %}{{ f(ns, ns) }}{{ ns }}";
    assert!(fate(through_a_macro.into()).is_err());
}

#[test]
fn values_that_are_deep_or_wide() {
    let sinks = [
        "",
        "{{ ns.x }}",
        "{{ ns.x == ns.y }}",
        "{{ ns.x | list | length }}",
        "{{ ns.x | string | length }}",
        "{{ {ns.x: 1} }}",
        "{{ ','.join(ns.x) }}",
    ];
    for sink in sinks {
        for grow in [
            "{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}",
            "{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}",
            "{% set ns.x = ns.x + ns.x %}{% set ns.y = ns.y + ns.y %}",
            "{% set ns.x = dict(a=ns.x, b=ns.x) %}",
            "{% set ns.x = (ns.x, ns.x) %}",
            "{% set ns.x = ns.x | zip(ns.x) | list %}",
            "{% set ns.x = ns.x | map('list') | batch(1) %}",
        ] {
            assert!(fate(grown(grow, 5000, sink)).is_err(), "{grow} {sink}");
        }
    }
    // Lazily nested: made plain at every step.
    for grow in ["ns.x[0:]", "ns.x | map('abs')", "ns.x | reverse", "ns.x | select", "ns.x | chain([])"] {
        let _ = fate(grown(&format!("{{% set ns.x = {grow} %}}"), 5000, "{{ ns.x | list }}"));
    }
    let doubled = "{% set x = [x, x] %}".repeat(100);
    let macros = "{% macro f(x, n) %}{% if n %}{{ f([x, x], n - 1) }}{% else %}{{ x == [x] }}{{ x }}{% endif %}{% endmacro %}{{ f([1], 40) }}";
    let loops =
        format!("{{% set x = 1 %}}{}{{{{ x }}}}{}", "{% for x in [[x, x]] %}".repeat(60), "{% endfor %}".repeat(60));
    let before = format!(
        "{{% set x = 1 %}}{}{{{{ x }}}}{}",
        "{% for y in [1, [loop.previtem, loop.previtem]] %}".repeat(60),
        "{% endfor %}".repeat(60)
    );
    for source in [
        format!("{{% set x = 1 %}}{doubled}{{{{ x }}}}"),
        macros.into(),
        format!("{{% set x = namespace() %}}{}{{{{ x }}}}", "{% set x = namespace(x=x, y=x) %}".repeat(60)),
        format!("{{% set x = namespace() %}}{}{{{{ x }}}}", "{% set x = namespace({'x': x}) %}".repeat(5000)),
        loops,
        "{% macro f() %}{{ caller }}{{ f(caller=[caller, caller]) }}{% endmacro %}{{ f(caller=[1]) }}".into(),
        format!("{}{{{{ x }}}}{}", "{% with x = [x, x] %}".repeat(60), "{% endwith %}".repeat(60)),
        format!("{}{{{{ x }}}}{}", "{% with x = [x, x], y = 1 %}".repeat(60), "{% endwith %}".repeat(60)),
        format!("{}{{{{ x }}}}", "{% set x | default([x, x], true) %}{% endset %}".repeat(60)),
        format!("{{%\u{b}set x = 1 %}}{}{{{{ x }}}}", "{%\u{b}set x = [x, x] %}".repeat(60)),
        "{% for x in [[1]] recursive %}{{ loop([[x, x]]) if loop.depth < 60 else x }}{% endfor %}".into(),
        "{% for x in [[1]] recursive %}{{ (loop)([[x, x]]) if loop.depth < 60 else x }}{% endfor %}".into(),
        "{% macro f(n) %}{{ caller(n) }}{% endmacro %}{% macro g(x, n) %}{% call(m) f(n) %}\
         {{ g([x, x], n + 1) if n < 60 else x }}{% endcall %}{% endmacro %}{{ g(1, 0) }}"
            .into(),
        "{% macro f(n) %}{{ f(n + 1, **{'caller': [caller, caller]}) if n < 60 else caller }}{% endmacro %}{{ f(0) }}"
            .into(),
        format!(
            "{{% set ns = namespace(x='a' * 99) %}}{{% set l = [ns] %}}{}{{{{ l }}}}",
            "{% set l = l + l %}".repeat(20)
        ),
    ] {
        assert!(fate(source.clone()).is_err(), "{source}");
    }
    let _ = fate(before);
}

#[test]
fn long_chains() {
    let n = 100_000;
    for (link, around) in [
        ("not ", ("{{ ", "1 }}")),
        ("-", ("{{ ", "1 }}")),
        ("(", ("{{ ", "1 }}")),
        ("[", ("{{ ", "1 }}")),
        ("+1", ("{{ 1", " }}")),
        ("|abs", ("{{ 1", " }}")),
        (".a", ("{{ x", " }}")),
        ("[0]", ("{{ x", " }}")),
        ("()", ("{{ x", " }}")),
        ("~x", ("{{ x", " }}")),
        ("**1", ("{{ 1", " }}")),
        (" and 1", ("{{ 1", " }}")),
        (" < 1", ("{{ 1", " }}")),
        (" is defined", ("{{ x", " }}")),
        (" if 1 else 1", ("{{ 1", " }}")),
        ("{% elif 0 %}", ("{% if 0 %}", "{% endif %}")),
        ("{% if 1 %}", ("", "")),
        ("{% for x in [1] %}", ("", "")),
        ("{% macro f() %}", ("", "")),
        ("{% set x %}", ("", "")),
        ("{% filter upper %}", ("", "")),
        ("{% else %}", ("{% if 0 %}", "{% endif %}")),
    ] {
        let chain = |n: usize| format!("{}{}{}", around.0, link.repeat(n), around.1);
        assert!(fate(chain(n)).is_err(), "{link}");
        // As long as the gate lets pass: no stack overflow.
        for n in [20, 50, 70, 90, 99, 100, 120, 140, 160, 200, 245, 248, 330, 490, 498] {
            let _ = fate(chain(n));
        }
    }
}

#[test]
fn as_many_flat_tags_as_fit() {
    for tag in [
        "{{x}}",
        "{%set x=[[1]]%}",
        "{%if 1%}{%endif%}",
        "{#",
        "{{",
        "{%",
        "{%raw%}",
        "}}",
        "{%macro f(a)%}{%endmacro%}",
    ] {
        let _ = fate(tag.repeat((250 << 10) / tag.len()));
    }
}
