//! Forms followed byte by byte, with a token for each byte.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::schema::MAX_BYTES;
use super::*;
use crate::prompt::calls::{AROUND, Part, Reader};
use crate::prompt::tools::{Call, Choice, Tool, Toolbox};
use crate::prompt::{CallStyle, tools};
use crate::sampling::Sampling;

/// The token that ends a text here.
const END: u32 = 255;

fn constraint(form: &Form) -> Constraint {
    Tokens::of_bytes().constrain(form, &[END]).unwrap_or_else(|refused| panic!("{form:?}: {refused}"))
}

fn allows(constraint: &mut Constraint, token: u32) -> bool {
    constraint.allows(token).expect("in time")
}

/// Whether a text is a whole answer of the form, or how many of its bytes are an answer's beginning.
fn follow(form: &Form, text: &str) -> Result<(), usize> {
    let mut constraint = constraint(form);
    for (n, byte) in text.bytes().enumerate() {
        if !allows(&mut constraint, byte.into()) {
            return Err(n);
        }
        constraint.accept(byte.into()).expect("allowed");
    }
    let may_end = allows(&mut constraint, END);
    assert_eq!(may_end, constraint.is_complete(), "{text}");
    if may_end { Ok(()) } else { Err(text.len()) }
}

fn schema(schema: &Value) -> Form {
    Form::Json(JsonForm { schema: schema.to_string(), is_lax: false })
}

fn lax(schema: &Value) -> Form {
    Form::Json(JsonForm { schema: schema.to_string(), is_lax: true })
}

#[test]
fn documents_keep_to_their_schemas() {
    let person = json!({
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 3}, "age": {"type": "integer", "minimum": 0, "maximum": 120}},
        "required": ["name", "age"],
    });
    assert_eq!(follow(&schema(&person), r#"{"name": "Ada", "age": 36}"#), Ok(()));
    for wrong in [
        r#"{"name": "Adam"#,
        r#"{"name": "Ada", "age": 121"#,
        r#"{"name": "Ada", "age": 36.5"#,
        r#"{"name": "Ada", "age": 36, "x"#,
        r#"{"age"#,
        "{ ",
        "[",
    ] {
        assert!(follow(&schema(&person), wrong).is_err_and(|n| n < wrong.len()), "{wrong}");
    }
    assert_eq!(follow(&schema(&person), r#"{"name": "Ada", "age": 36"#), Err(25), "not whole");
    // What llama.cpp's converter makes any text of.
    let dated = json!({"type": "string", "pattern": "^\\d{4}-\\w+$"});
    assert_eq!(follow(&schema(&dated), "\"2024-Jan\""), Ok(()));
    assert!(follow(&schema(&dated), "\"24-").is_err_and(|n| n == 3));
    let stepped = json!({"type": "integer", "multipleOf": 7, "minimum": 8});
    assert_eq!(follow(&schema(&stepped), "14"), Ok(()));
    assert_eq!(follow(&schema(&stepped), "15"), Err(2), "more digits may come, an end may not");
    let row = json!({"type": "array", "prefixItems": [{"type": "string"}], "additionalItems": false});
    assert!(follow(&schema(&row), "[0").is_err_and(|n| n == 1));
    // White space as JavaScript has it.
    let spaced = json!({"type": "string", "pattern": "^\\s\\S.$"});
    assert_eq!(follow(&schema(&spaced), "\"\u{feff}ab\""), Ok(()));
    for wrong in ["\"\u{85}", "\"\u{feff}\u{feff}", "\"\u{feff}a\u{2028}"] {
        assert!(follow(&schema(&spaced), wrong).is_err_and(|n| n < wrong.len()), "{wrong:?}");
    }
    // No more digits than can be read exactly.
    assert!(follow(&schema(&json!({"multipleOf": 1.5})), "983404206563423187").is_err());
    let tree = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {
        "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["next"]}}});
    assert_eq!(follow(&schema(&tree), r#"{"next": {"next": null}}"#), Ok(()));
    assert_eq!(follow(&schema(&json!(true)), r#"[1, "a", {"b": null}]"#), Ok(()));
}

#[test]
fn what_schemas_leave_open_stays_closed_unless_they_are_combined() {
    let open = json!({"type": "object", "properties": {"a": {"type": "null"}}});
    assert!(follow(&schema(&open), r#"{"b"#).is_err_and(|n| n < 3));
    let asked = json!({"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": true});
    assert_eq!(follow(&schema(&asked), r#"{"b": 1}"#), Ok(()));
    let lacking = json!({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["b"]});
    assert_eq!(follow(&schema(&lacking), r#"{"b": 1}"#), Ok(()));
    let both = json!({"allOf": [
        {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]},
        {"type": "object", "properties": {"b": {"type": "null"}}, "required": ["b"]},
    ]});
    assert_eq!(follow(&schema(&both), r#"{"a": null, "b": null}"#), Ok(()));
}

#[test]
fn what_cannot_be_kept_is_refused_by_its_place() {
    for (refused, words) in [
        (json!({"properties": {"a": {"not": {}}}}), "#/properties/a/not: the keyword `not`"),
        (json!({"properties": {"a/b~": {"items": {"uniqueItems": true}}}}), "#/properties/a~1b~0/items/uniqueItems"),
        (json!({"anyOf": [{}, {"if": {}, "then": {}}]}), "#/anyOf/1/if"),
        (
            json!({"$defs": {"x": {"patternProperties": {"^a": {"contains": {}}}}}}),
            "#/$defs/x/patternProperties/^a/contains",
        ),
        (json!({"additionalProperties": {"propertyNames": {}}}), "#/additionalProperties/propertyNames"),
        (json!({"$ref": "https://example.org/a"}), "#/$ref: expected a place in this schema"),
        (json!({"$ref": "#/$defs/gone"}), "#/$ref"),
        (json!({"properties": {"a": {"type": "string", "pattern": "^(?=a)b"}}}), "#/properties/a/pattern"),
        (json!({"items": {"oneOf": [{"type": "integer"}, {"type": "number"}]}, "type": "array"}), "#/items/oneOf"),
        (
            json!({"properties": {"n": {"type": "integer", "minimum": 3, "maximum": 1}}, "required": ["n"]}),
            "#/properties/n/m",
        ),
        (json!({"type": "string", "minLength": 5, "maxLength": 2}), "#/m"),
        (json!({"type": "array", "minItems": 5, "maxItems": 2, "items": {}}), "#/m"),
        (json!({"allOf": [{"$ref": "#"}]}), "#"),
        (json!(false), "#: `false` describes nothing"),
        (json!({"properties": {"a\u{1b}[31m": {"not": {}}}}), "#/properties/a\\u{1b}[31m/not"),
        (json!({"type": "nonsense\u{1b}"}), "nonsense\\u{1b}"),
        (json!([1]), "expected an object, got [1]"),
    ] {
        let error = Tokens::of_bytes().constrain(&schema(&refused), &[END]).expect_err(words);
        assert!(error.to_string().contains(words), "{refused}: {error}");
        let Refused::Schema(reason) = &error else { panic!("{error}") };
        assert_eq!(error.hint().is_some(), reason.starts_with('#'), "what has a place can be left out: {error}");
    }
    let text = |text: &str| Form::Json(JsonForm { schema: text.to_owned(), is_lax: false }).check();
    assert!(text("{").is_err_and(|error| error.to_string().contains("not JSON")));
    assert!(text(&" ".repeat(MAX_BYTES + 1)).is_err());
    assert!(text(&"[".repeat(5000)).is_err());
}

#[test]
fn what_cannot_be_kept_is_left_out_where_that_is_asked_for() {
    let both = json!({"type": "object", "properties": {
        "a": {"type": "string", "pattern": "(?!x)", "not": {"const": "y"}},
        "b": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
    }, "required": ["a", "b"]});
    let constraint = constraint(&lax(&both));
    let places: Vec<_> = constraint.notes().iter().filter_map(|note| note.split(':').next()).collect();
    assert_eq!(places, ["#/properties/a/not", "#/properties/a/pattern", "#/properties/b/oneOf"]);
    assert_eq!(follow(&lax(&both), r#"{"a": "y", "b": 1.5}"#), Ok(()));
    assert!(follow(&lax(&both), r#"{"a": "y", "b": null"#).is_err_and(|n| n < 18), "the rest is kept");
}

#[test]
fn keywords_that_say_nothing_cost_nothing() {
    let noted = json!({
        "uniqueItems": false, "then": {}, "minContains": 2, "format": "color", "dependencies": {}, "x-note": {"not": 1},
        "properties": {"not": {"enum": ["not"]}}, "x-guidance": {"lenient": true}, "type": "object",
    });
    assert_eq!(constraint(&schema(&noted)).notes(), [""; 0]);
    assert_eq!(follow(&schema(&noted), r#"{"not": "not"}"#), Ok(()));
}

#[test]
fn texts_keep_to_regular_expressions() {
    let form = Form::Regex(r"(yes|no), \d+%".to_owned());
    assert_eq!(follow(&form, "yes, 12%"), Ok(()));
    assert!(follow(&form, "maybe").is_err_and(|n| n == 0));
    assert!(follow(&form, "no, 12%!").is_err_and(|n| n == 7));
    for (regex, words) in [("(", "regular expression"), (r"(?=a)b", "look"), (r"(a)\1", "back"), ("a{5,2}", "")] {
        let error = Form::Regex(regex.to_owned()).check().expect_err(regex).to_string();
        assert!(
            error.starts_with("the regular expression cannot be used") && error.contains(words),
            "{regex}: {error}"
        );
    }
}

#[test]
fn grammars_that_never_lead_back_are_followed() {
    let form = |grammar: &str| Form::Grammar(grammar.to_owned());
    for (grammar, right, wrong) in [
        ("root ::= \"a\" ( \"\" | \"b\" )* \"c\"", "abbc", "abd"),
        ("root ::= [a-z]* \"end\" # words\n", "theend", "the."),
        ("root ::= (\"yes\" | no) \", \" [0-9]{3} \".\"\nno ::= \"no\"", "no, 123.", "no, 12."),
        ("root ::= [^\\\"\\n]+ \"\\\"\" [\\x41-\\u0043-] . x?\nx ::= \"\\U0001F642\" |\n  \"é\"", "a/b\"B\né", "a\"D"),
        ("root ::= (\n  \"a\" |\n  \"b\"\n){2,} # two\n\n", "abb", "c"),
        ("root ::= \"a\"{0,2} | (\"b\"){1}", "aa", "aaa"),
    ] {
        assert_eq!(follow(&form(grammar), right), Ok(()), "{grammar}");
        assert!(follow(&form(grammar), wrong).is_err(), "{grammar}");
    }
    let nested = format!("root ::= {}\"a\"{}", "(".repeat(100), ")+".repeat(100));
    let refused = form(&nested).check().expect_err("refused").to_string();
    assert_eq!(refused, "the grammar cannot be used: its parentheses nest deeper than can be followed");
    for theirs in [
        "root ::= \"(\" root \")\" | \"a\"",
        "root ::= nowhere",
        "rot ::= \"a\"",
        "root ::= \"a",
        "root ::= (\"a\"",
        "root ::= <[7]>",
        "root ::= \"a\"{5,2}",
        "root ::= []",
        "",
    ] {
        let sampling = Sampling { grammar: Some(theirs.to_owned()), ..Sampling::default() };
        assert_eq!(Form::of(&sampling), None, "{theirs}");
    }
}

/// Whatever would take memory or time without end is refused, and soon.
#[test]
fn budgets_end_what_has_no_end() {
    let began = std::time::Instant::now();
    let nested = |n: usize| "(".repeat(n) + "a" + &")+".repeat(n);
    for regex in [nested(2000), "((a{999}){999}){999}".to_owned(), "a".repeat(100_000), "(a|b|ab)*".repeat(2000)] {
        let _ = Form::Regex(regex).check();
    }
    let ambiguous =
        (0..30).fold("root ::= r0\n".to_owned(), |all, i| all + &format!("r{i} ::= r{0} r{0} | r{0}\n", i + 1));
    for grammar in [
        format!("root ::= {}", "\"a\"? ".repeat(500)),
        format!("root ::= {}\"a\"{}", "(".repeat(100), ")+".repeat(100)),
        ambiguous + "r30 ::= \"a\"?",
        "root ::= (((\"a\"){0,2000}){0,2000}){0,2000}".to_owned(),
    ] {
        assert!(
            Form::of(&Sampling { grammar: Some(grammar.clone()), ..Sampling::default() }).is_some(),
            "{grammar:.60}"
        );
        let _ = Form::Grammar(grammar).check();
    }
    let mut doubled = serde_json::Map::new();
    for i in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
        doubled.insert(format!("d{i}"), json!({"properties": {"x": {"allOf": [next, next]}}}));
    }
    doubled.insert("d40".to_owned(), json!({"properties": {"x": {}}}));
    let many: serde_json::Map<_, _> = (0..1000).map(|i| (format!("p{i}"), json!({}))).collect();
    for hard in [
        json!({"$ref": "#/$defs/d0", "$defs": doubled}),
        json!({"properties": many}),
        json!({"type": "array", "items": {}, "minItems": 1_000_000_000}),
        json!({"type": "string", "maxLength": 1_000_000_000}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        json!({"$ref": "#"}),
    ] {
        let _ = schema(&hard).check();
    }
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[test]
fn forced_tokens_spell_what_has_to_come() {
    let form = schema(&json!({"type": "object", "properties": {"name": {"const": "x"}}, "required": ["name"]}));
    let mut constraint = constraint(&form);
    let forced: Vec<u8> = constraint.forced().into_iter().map(|token| token as u8).collect();
    assert_eq!(String::from_utf8_lossy(&forced), r#"{"name": "x"}"#);
    for byte in forced {
        assert!(allows(&mut constraint, byte.into()));
        constraint.accept(byte.into()).expect("allowed");
    }
    assert_eq!(constraint.forced(), [0; 0]);
    constraint.accept(END).expect("the end");
    assert!(constraint.is_complete() && !allows(&mut constraint, 0x20) && allows(&mut constraint, END));
}

#[test]
fn finished_answers_are_held_against_their_schemas() {
    let validator =
        Validator::new(r#"{"type": "object", "properties": {"n": {"multipleOf": 3}}, "not": {"required": ["x"]}}"#);
    let validator = validator.expect("a schema");
    assert_eq!(validator.check(r#"{"n": 6}"#), Ok(()));
    assert!(validator.check(r#"{"n": 7}"#).is_err_and(|words| words.starts_with("/n: ")));
    assert!(validator.check(r#"{"x": 7}"#).is_err_and(|words| words.starts_with("the answer: ")));
    assert!(validator.check(r#"{"n""#).is_err_and(|words| words.contains("not JSON")));
    assert!(Validator::new(r#"{"type": "nonsense"}"#).is_none());
    let noted =
        r#"{"$schema": "http://json-schema.org/draft-07/schema#", "contentEncoding": "base64", "type": "string"}"#;
    assert_eq!(Validator::new(noted).expect("a schema").check("\",\""), Ok(()));
}

fn toolbox(choice: Choice, parallel: bool) -> Toolbox {
    let tool =
        |name: &str, parameters: Value| Tool { name: name.to_owned(), description: None, parameters, strict: true };
    let weather = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let tools = vec![tool("get_weather", weather), tool("now", json!({"type": "object", "properties": {}}))];
    Toolbox { tools, choice, parallel }
}

fn calls(style: CallStyle, toolbox: Toolbox) -> Form {
    Form::Calls(Calls { toolbox, style, named: Vec::new(), answer: None })
}

fn call(name: &str, arguments: &str) -> Call {
    Call { id: tools::call_id(0, 0), name: name.to_owned(), arguments: arguments.to_owned() }
}

const STYLES: [CallStyle; 5] =
    [CallStyle::Hermes, CallStyle::Llama, CallStyle::Mistral, CallStyle::MistralArgs, CallStyle::Gemma];

#[test]
fn calls_are_written_in_the_style_of_a_family_and_no_other() {
    for style in STYLES {
        let one = style.written(&[call("get_weather", r#"{"city": "Bern"}"#)]);
        let two = style.written(&[call("get_weather", r#"{"city": "B}\"n"}"#), call("now", "{}")]);
        let auto = calls(style, toolbox(Choice::Auto, true));
        let words = ["", "It is warm.", "a < b & [c] ```rust\nx\n```", "{\"name\": 1}"];
        for words in words {
            assert_eq!(follow(&auto, words), Ok(()), "{style:?}: {words}");
        }
        assert_eq!(follow(&auto, &one), Ok(()), "{style:?}");
        let single = calls(style, toolbox(Choice::Auto, false));
        assert_eq!(follow(&single, &one), Ok(()), "{style:?}");
        if style.marks().next.is_some() {
            assert_eq!(follow(&auto, &two), Ok(()), "{style:?}");
            assert_eq!(follow(&auto, &format!("Let me look.\n{one}")), Ok(()), "{style:?}");
            assert!(follow(&single, &two).is_err(), "{style:?}");
        }
        let required = calls(style, toolbox(Choice::Required, true));
        assert_eq!(follow(&required, &one), Ok(()), "{style:?}");
        assert!(follow(&required, "It is warm.").is_err_and(|n| n == 0), "{style:?}");
        let named = calls(style, toolbox(Choice::Named("now".to_owned()), true));
        assert_eq!(follow(&named, &style.written(&[call("now", "{}")])), Ok(()), "{style:?}");
        assert!(follow(&named, &one).is_err(), "{style:?}");
        // Neither a tool that there is not nor arguments that it does not take.
        for wrong in [call("set_weather", "{}"), call("get_weather", r#"{"town": "Bern"}"#), call("get_weather", "{}")]
        {
            let written = style.written(&[wrong]);
            // What has no mark is words, if it is no call.
            let is_words = style == CallStyle::Llama && written.contains("set_weather");
            assert_eq!(follow(&auto, &written).is_ok(), is_words, "{style:?}: {written}");
        }
    }
}

#[test]
fn an_answer_in_words_keeps_to_its_own_schema() {
    let answer = JsonForm { schema: r#"{"type": "array", "items": {"type": "integer"}}"#.to_owned(), is_lax: false };
    let form = Form::Calls(Calls {
        toolbox: toolbox(Choice::Auto, true),
        style: CallStyle::Hermes,
        named: Vec::new(),
        answer: Some(answer),
    });
    assert_eq!(follow(&form, "[1, 2]"), Ok(()));
    assert_eq!(follow(&form, &CallStyle::Hermes.written(&[call("now", "{}")])), Ok(()));
    assert!(follow(&form, "Hello").is_err_and(|n| n == 0));
}

const BETWEEN: [&str; 17] = {
    let mut all = ["\n"; 17];
    let mut i = 0;
    while i < AROUND.len() {
        all[i] = AROUND[i];
        i += 1;
    }
    all[16] = " ";
    all
};

/// The parts of an answer that comes in pieces, neighbours of a kind as one.
fn parts(style: CallStyle, pieces: &[&str]) -> Vec<Part> {
    let mut reader = Reader::new(style, &["get_weather".to_owned(), "now".to_owned()]);
    let mut parts: Vec<Part> = Vec::new();
    let told = pieces.iter().flat_map(|piece| reader.read(piece)).collect::<Vec<_>>();
    for part in told.into_iter().chain(reader.finish()) {
        match (parts.last_mut(), part) {
            (Some(Part::Text(text)), Part::Text(more)) | (Some(Part::Arguments(text)), Part::Arguments(more)) => {
                *text += &more;
            }
            (_, part) => parts.push(part),
        }
    }
    parts
}

/// What models write that were told to mark their calls, and do not.
#[test]
fn calls_without_their_marks_are_calls_all_the_same() {
    let words = |text: &str| Part::Text(text.to_owned());
    let called = |arguments: &str| [Part::Name("get_weather".to_owned()), Part::Arguments(arguments.to_owned())];
    let bern = called(r#"{"city": "Bern"}"#);
    for style in [CallStyle::Hermes, CallStyle::Llama, CallStyle::Gemma] {
        for (text, said) in [
            (r#"{"name": "get_weather", "arguments": {"city": "Bern"}}"#, None),
            ("```json\n{\n  \"name\": \"get_weather\",\n  \"parameters\": {\"city\": \"Bern\"}\n}\n```", None),
            ("<tool>\n{\"name\":\"get_weather\",\"arguments\":{\"city\": \"Bern\"}}\n<tool>", None),
            (
                "I look.\n```\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Bern\"}}\n```\n",
                Some(words("I look.")),
            ),
        ] {
            for parallel in [true, false] {
                assert_eq!(follow(&calls(style, toolbox(Choice::Auto, parallel)), text), Ok(()), "{style:?}: {text}");
            }
            let cut: Vec<_> = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect();
            let expected: Vec<_> = said.into_iter().chain(bern.clone()).collect();
            assert_eq!(parts(style, &cut), expected, "{style:?}: {text}");
            assert_eq!(parts(style, &[text]), expected, "{style:?}: {text}");
        }
        let one = r#"{"name": "get_weather", "arguments": {"city": "Bern"}}"#;
        let two = format!("```json\n{one}\n```\n```json\n{one}\n```");
        assert_eq!(follow(&calls(style, toolbox(Choice::Auto, true)), &two), Ok(()), "{style:?}");
        assert!(follow(&calls(style, toolbox(Choice::Auto, false)), &two).is_err(), "{style:?}");
        let twice = format!("```json\n{one}\n```json\n```json\n{one}\n```");
        for text in [&two, &twice] {
            let cut: Vec<_> = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect();
            assert_eq!(parts(style, &[text]), [bern.clone(), bern.clone()].concat(), "{style:?}: {text}");
            assert_eq!(parts(style, &cut), [bern.clone(), bern.clone()].concat(), "{style:?}: {text}");
        }
        // Arguments are kept there too, and JSON that calls nothing is words.
        let wrong = r#"{"name": "get_weather", "arguments": {"town"#;
        assert!(follow(&calls(style, toolbox(Choice::Auto, true)), wrong).is_err_and(|n| n < wrong.len()), "{style:?}");
        let other = "```json\n{\"name\": \"Bob\", \"arguments\": []}\n```";
        assert_eq!(follow(&calls(style, toolbox(Choice::Auto, true)), other), Ok(()), "{style:?}");
        assert_eq!(parts(style, &[other]), [words(other)], "{style:?}");
    }
}

proptest! {
    /// What a grammar allows is read back, wherever the pieces are cut.
    #[test]
    fn calls_are_read_back(
        style in prop::sample::select(&STYLES[..]),
        words in "[a-z <`\n\\[]{0,12}",
        city in "[a-z{}\\[\\]\"\\\\ <]{0,8}",
        n in 1_usize..4,
        cuts in prop::collection::vec(0_usize..400, 0..12),
    ) {
        let arguments = json!({"city": city}).to_string();
        let n = if style.marks().next.is_some() { n } else { 1 };
        let written = style.written(&vec![call("get_weather", &arguments); n]);
        let text = words.clone() + &written;
        let mut cuts: Vec<_> = cuts.into_iter().filter(|at| text.is_char_boundary(*at)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
        let mut expected: Vec<Part> = Vec::new();
        if !words.trim_end().is_empty() {
            expected.push(Part::Text(words.trim_end().to_owned()));
        }
        for _ in 0..n {
            expected.extend([Part::Name("get_weather".to_owned()), Part::Arguments(arguments.clone())]);
        }
        prop_assert_eq!(parts(style, &pieces), expected);
    }

    /// What may stand between two calls is passed over.
    #[test]
    fn calls_are_told_apart(between in prop::collection::vec(prop::sample::select(&BETWEEN[..]), 0..6)) {
        let one = r#"{"name": "get_weather", "arguments": {"city": "Bern"}}"#;
        let text = format!("{one}{}{one}", between.concat());
        let form = calls(CallStyle::Hermes, toolbox(Choice::Auto, true));
        prop_assert_eq!(follow(&form, &text), Ok(()));
        let expected = [Part::Name("get_weather".to_owned()), Part::Arguments(r#"{"city": "Bern"}"#.to_owned())];
        let cut: Vec<_> = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect();
        prop_assert_eq!(parts(CallStyle::Hermes, &cut), [expected.clone(), expected].concat());
    }

    /// Words without a call come out as they are.
    #[test]
    fn words_are_read_back(style in prop::sample::select(&STYLES[..]), words in "[a-z <`\n\\[{\"]{0,16}", cut in 0_usize..16) {
        let cut = cut.min(words.len());
        let told: String = parts(style, &[&words[..cut], &words[cut..]]).into_iter().map(|part| match part {
            Part::Text(text) => text,
            other => panic!("{other:?}"),
        }).collect();
        prop_assert_eq!(told, words);
    }
}
