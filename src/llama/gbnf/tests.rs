use super::*;

fn refusal(grammar: &str) -> String {
    check(grammar).expect_err(&grammar[..grammar.len().min(40)])
}

#[test]
fn grammars_as_people_write_them_pass() {
    let json = r#"
        # JSON, as in llama.cpp's examples
        root   ::= object
        value  ::= object | array | string | number | ("true" | "false" | "null") ws
        object ::=
          "{" ws (
                    string ":" ws value
            ("," ws string ":" ws value)*
          )? "}" ws
        array  ::= "[" ws ( value ("," ws value)* )? "]" ws
        string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt/] | "u" [0-9a-fA-F]{4}) )* "\"" ws
        number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
        ws     ::= | " " | "\n" [ \t]{0,20}
    "#;
    let grammars = [
        json,
        "root ::= \"a\"",
        "root::=(\"a\"|\"b\"){2,}<[7]>!<[8]>.",
        "root ::= ((\"a\")*)*",
        "root ::= (\"a\"? \"b\"?)*",
        "root ::= item root | item\nitem ::= \"- \" [^\\n]+ \"\\n\"\r\n# the end",
        "root ::= [a-z]{0,2000} [\\]\\-\\[] \"\\u00e9\\U0001F600é\"",
        "root ::= (((\"a\"{0,1}){0,1}){0,1})",
    ];
    for grammar in grammars {
        assert_eq!(check(grammar), Ok(()), "{grammar}");
    }
}

#[test]
fn rounds_that_add_to_the_stack_are_refused() {
    for grammar in [
        "root ::= root \"a\" | \"b\"",
        "root ::= s root \"b\" | \"c\"\ns ::= t t\nt ::= \"a\"?",
        "root ::= s root \"b\" | \"c\"\ns ::= t*\nt ::= |\"a\"",
        "root ::= a\na ::= b \"x\"\nb ::= c\nc ::= a | \"y\"",
        "root ::= a\nd ::= e*\na ::= d d a d \"x\" | \"y\"\ne ::= \"z\"",
    ] {
        assert!(refusal(grammar).contains("begins with itself"), "{grammar}");
    }
}

#[test]
fn what_unfolds_without_end_is_refused() {
    let ways: Vec<_> = (0..40).map(|i| format!("r{i} ::= r{0} \"a\" | r{0} \"b\"\n", i + 1)).collect();
    let ways = ways.concat();
    assert!(refusal(&format!("root ::= r0\n{ways}r40 ::= \"c\"")).contains("too many ways"));
    let chain: Vec<_> = (0..5000).map(|i| format!("r{i} ::= r{}\n", i + 1)).collect();
    let chain = chain.concat();
    assert!(refusal(&format!("root ::= r0\n{chain}r5000 ::= \"c\"")).contains("beginning"));
    for wide in ["\"a\"? ", "(\"a\"? | \"b\"?) "] {
        assert!(refusal(&format!("root ::= \"x\" {} \"b\"", wide.repeat(2000))).contains("may come next"));
    }
    let many = vec!["\"a\""; 2000].join("|");
    assert!(refusal(&format!("root ::= {many}")).contains("may come next"));
    assert!(refusal(&format!("root ::= {}", "(\"a\"){0,2000} ".repeat(400))).contains("elements"));
    for times in ["{5,2}", "{2001}", "{99999999999999999999}", "{,3}", "{a}", "{2"] {
        refusal(&format!("root ::= \"a\"{times}"));
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    for grammar in
        ["root", "root :: \"a\"", "root ::= \"a", "root ::= [a", "root ::= (\"a\"", "root ::= \"a\" )", "root ::= *"]
    {
        refusal(grammar);
    }
    for grammar in ["root ::= \"\\q\"", "root ::= \"\\xZZ\"", "root ::= \"\\u12\"", "root ::= <[7]", "é ::= \"a\""] {
        refusal(grammar);
    }
}
