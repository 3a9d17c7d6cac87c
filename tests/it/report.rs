//! A sample of what `make report` checks: the claims of tests/report against the documents and, where a measurement is marked
//! as `sample`, against the program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use syn::{BinOp, Expr, Lit, Member, UnOp};
use toml::{Table, Value as Toml};

use crate::command_line::json;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn table(path: &Path) -> Table {
    read(path).parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn measurements() -> Table {
    table(&root().join("tests/report/measurements.toml"))
}

/// The tables of all documents.
fn documents() -> Vec<Table> {
    let files = std::fs::read_dir(root().join("tests/report")).expect("the folder");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.iter().map(|path| table(path)).filter(|table| table.contains_key("document")).collect()
}

fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table[key].as_str().unwrap_or_else(|| panic!("{key} is no text"))
}

fn list<'a>(table: &'a Table, key: &str) -> &'a [Toml] {
    table.get(key).map_or(&[], |value| value.as_array().expect("a list"))
}

fn texts(values: &[Toml]) -> impl Iterator<Item = &str> {
    values.iter().map(|value| value.as_str().expect("a text"))
}

/// Line breaks count as blanks: documents are wrapped.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text with figures in braces, and an expression for each of them.
struct Claim {
    text: String,
    expressions: Vec<String>,
}

impl Claim {
    fn all(document: &Table) -> Vec<Self> {
        let of = |claim: &Toml| -> Vec<Self> {
            let claim = claim.as_table().expect("a claim");
            let of_row = |row: &str, text: &str| Self {
                text: flat(text),
                expressions: texts(list(claim, "is")).map(|each| each.replace("ROW", row)).collect(),
            };
            match claim.get("rows") {
                None => vec![of_row("", text(claim, "text"))],
                Some(rows) => {
                    let rows = rows.as_table().expect("rows");
                    rows.iter().map(|(row, text)| of_row(row, text.as_str().expect("a text"))).collect()
                }
            }
        };
        list(document, "claim").iter().flat_map(of).collect()
    }

    /// As they are printed.
    fn figures(&self) -> Vec<&str> {
        self.text.split('{').skip(1).map(|after| after.split_once('}').expect("a closing brace").0).collect()
    }
}

#[test]
fn the_documents_say_what_is_claimed_of_them() {
    let documents = documents();
    assert_eq!(documents.len(), 4);
    for document in &documents {
        let path = text(document, "document");
        let said = flat(&read(&root().join(path)));
        for claim in Claim::all(document) {
            assert_eq!(claim.figures().len(), claim.expressions.len(), "{path}: {}", claim.text);
            let bare = claim.text.replace(['{', '}'], "");
            assert_eq!(said.matches(&bare).count(), 1, "{path}: {bare}");
        }
        let remarks = list(document, "not_reproduced").iter().map(|each| each.as_table().expect("a remark"));
        for remark in remarks.flat_map(|remark| texts(list(remark, "texts"))).chain(texts(list(document, "settings"))) {
            assert!(said.contains(&flat(remark)), "{path}: {remark}");
        }
    }
}

/// What was measured, by the measurements' names.
struct Figures {
    measured: BTreeMap<String, Value>,
    may_change: Table,
}

impl Figures {
    /// None if it needs something that is not of the sample.
    fn value(&self, expression: &Expr, moved: Option<&str>) -> Option<f64> {
        Some(match expression {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Int(number) => number.base10_parse().expect("a number"),
                Lit::Float(number) => number.base10_parse().expect("a number"),
                _ => panic!("no number"),
            },
            Expr::Paren(inner) => self.value(&inner.expr, moved)?,
            Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => -self.value(&unary.expr, moved)?,
            Expr::Binary(binary) => {
                let (left, right) = (self.value(&binary.left, moved)?, self.value(&binary.right, moved)?);
                match binary.op {
                    BinOp::Add(_) => left + right,
                    BinOp::Sub(_) => left - right,
                    BinOp::Mul(_) => left * right,
                    BinOp::Div(_) => left / right,
                    _ => panic!("no operator that is known"),
                }
            }
            Expr::Call(call) => self.value(&call.args[0], moved)?.exp(),
            Expr::Field(_) => {
                let path = path(expression);
                let found = self.measured.get(&path[0])?;
                let value = path[1..].iter().fold(found, |value, key| member(value, key));
                let value = value.as_f64().unwrap_or_else(|| panic!("{path:?}: {value} is no number"));
                let path = path.join(".");
                if moved == Some(path.as_str()) { value + self.allowed(&path, value) } else { value }
            }
            _ => panic!("no expression that is known"),
        })
    }

    /// What another machine may change in this figure.
    fn allowed(&self, path: &str, value: f64) -> f64 {
        let rule = self.may_change.get(path.rsplit('.').next().expect("a name"));
        let rule = |key| rule.and_then(|rule| rule.get(key)).and_then(Toml::as_float).unwrap_or(0.0);
        f64::max(rule("by"), rule("of_itself") * value.abs())
    }
}

/// `["prose", "results", "base", "nats_per_token"]` of `prose.results.base.nats_per_token`.
fn path(expression: &Expr) -> Vec<String> {
    match expression {
        Expr::Path(name) => vec![name.path.get_ident().expect("a name").to_string()],
        Expr::Field(field) => {
            let Member::Named(name) = &field.member else { panic!("no name") };
            let mut names = path(&field.base);
            names.push(name.to_string());
            names
        }
        _ => panic!("no path"),
    }
}

/// The paths in an expression.
fn paths(expression: &Expr, found: &mut Vec<String>) {
    match expression {
        Expr::Paren(inner) => paths(&inner.expr, found),
        Expr::Unary(unary) => paths(&unary.expr, found),
        Expr::Binary(binary) => {
            paths(&binary.left, found);
            paths(&binary.right, found);
        }
        Expr::Call(call) => paths(&call.args[0], found),
        Expr::Field(_) => found.push(path(expression).join(".")),
        _ => {}
    }
}

/// Of an object by its name; of a list the element with that role and α (`steered_0_75`), or `_0`, `_1` and so on.
fn member<'a>(value: &'a Value, key: &str) -> &'a Value {
    let found = match value {
        Value::Array(elements) => match key.strip_prefix('_').and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => elements.get(number),
            None => elements.iter().find(|element| label(element) == key),
        },
        _ => value.get(key),
    };
    found.unwrap_or_else(|| panic!("there is no `{key}`"))
}

fn label(element: &Value) -> String {
    let name = ["role", "kind", "roles", "name"].iter().find_map(|key| element.get(key));
    let name = name.map(|name| name.get(0).unwrap_or(name)).and_then(Value::as_str).unwrap_or_default();
    match element.get("alpha").and_then(Value::as_f64) {
        Some(alpha) => format!("{name}_{alpha}").replace('.', "_"),
        None => name.to_owned(),
    }
}

#[test]
fn a_sample_of_the_figures_is_what_the_program_measures() {
    let mut table = measurements();
    let Some(Toml::Table(may_change)) = table.remove("may_change") else { panic!("may_change") };
    let mut measured = BTreeMap::new();
    for (name, measurement) in table["measure"].as_table().expect("measurements") {
        let measurement = measurement.as_table().expect("a measurement");
        if measurement.get("sample").is_some_and(|sample| sample.as_bool() == Some(true)) {
            let words = text(measurement, "run").split_whitespace().chain(texts(list(measurement, "words")));
            measured.insert(name.clone(), json(&words.chain(["--json"]).collect::<Vec<_>>()));
        }
    }
    assert!(measured.len() >= 3, "{:?}", measured.keys());
    let figures = Figures { measured, may_change };
    let mut n = 0;
    for document in documents() {
        for claim in Claim::all(&document) {
            for (stated, expression) in claim.figures().into_iter().zip(&claim.expressions) {
                let parsed: Expr = syn::parse_str(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
                let Some(got) = figures.value(&parsed, None) else { continue };
                let mut moved = Vec::new();
                paths(&parsed, &mut moved);
                moved.sort();
                moved.dedup();
                let machine: f64 = moved
                    .iter()
                    .map(|path| figures.value(&parsed, Some(path)).map_or(0.0, |value| (value - got).abs()))
                    .sum();
                let digits = stated.split_once('.').map_or(0, |(_, digits)| digits.len());
                let rounding = 0.5 * 10_f64.powi(-(digits as i32));
                let expected: f64 = stated.replace('−', "-").replace(',', "").parse().expect("a number");
                let allowed = rounding + machine + 1e-9;
                assert!(
                    (got - expected).abs() <= allowed,
                    "{}: {expression} is {got}, {stated} is stated, {allowed} allowed",
                    claim.text
                );
                n += 1;
            }
        }
    }
    assert!(n >= 40, "{n} figures");
}
