//! GBNF grammars in which no rule leads back to itself: regular expressions, which are followed within budgets however often they
//! repeat and in however many ways they can be read. llama.cpp follows the others.

use std::collections::HashMap;
use std::fmt::Write;

/// Rules of terminals, or nothing where the grammar is none, is none of this kind, or names tokens.
pub(super) fn terminals(grammar: &str) -> Option<String> {
    let mut reader = Reader { left: grammar, ids: HashMap::new() };
    // By their ids, each with the rules that it names.
    let mut rules: HashMap<usize, (String, Vec<usize>)> = HashMap::new();
    reader.skip(true);
    while !reader.left.is_empty() {
        let id = reader.name()?;
        reader.skip(false);
        reader.take("::=")?;
        reader.skip(true);
        let mut rule = Rule::default();
        reader.alternatives(&mut rule, 0)?;
        if !reader.left.is_empty() && !reader.left.starts_with(['\r', '\n']) {
            return None;
        }
        reader.skip(true);
        // Of two rules of a name llama.cpp takes the last.
        rules.insert(id, (rule.text, rule.names));
    }
    let root = *reader.ids.get("root")?;
    let order = order(&rules, root)?;
    let mut lark = format!("start: R{root}\n");
    for id in order {
        // Writing to a text cannot fail.
        let _ = writeln!(lark, "R{id}: {}", rules[&id].0);
    }
    Some(lark)
}

/// The rules that are needed, unless one leads back to itself or is not there.
fn order(rules: &HashMap<usize, (String, Vec<usize>)>, root: usize) -> Option<Vec<usize>> {
    let (mut done, mut order) = (HashMap::new(), Vec::new());
    let mut way = vec![(root, 0)];
    done.insert(root, false);
    while let Some((rule, next)) = way.last_mut() {
        let (_, names) = rules.get(rule)?;
        let Some(&other) = names.get(*next) else {
            done.insert(*rule, true);
            order.push(*rule);
            way.pop();
            continue;
        };
        *next += 1;
        match done.get(&other) {
            Some(true) => {}
            Some(false) => return None,
            None => {
                done.insert(other, false);
                way.push((other, 0));
            }
        }
    }
    Some(order)
}

/// The right side of a rule.
#[derive(Default)]
struct Rule {
    text: String,
    names: Vec<usize>,
}

struct Reader<'a> {
    left: &'a str,
    ids: HashMap<&'a str, usize>,
}

/// Groups in one another.
const MAX_DEPTH: usize = 256;
/// Times that something is repeated, as llama.cpp has it.
const MAX_TIMES: usize = 2000;
/// Any character.
const ANY: &str = r"/(.|\n)/";

impl Reader<'_> {
    fn take(&mut self, text: &str) -> Option<()> {
        self.left = self.left.strip_prefix(text)?;
        Some(())
    }

    /// Skips blanks and comments, and line ends where they mean nothing.
    fn skip(&mut self, may_break: bool) {
        loop {
            self.left = self.left.trim_start_matches(|c| " \t".contains(c) || may_break && "\r\n".contains(c));
            if !self.left.starts_with('#') {
                return;
            }
            self.left = &self.left[self.left.find(['\r', '\n']).unwrap_or(self.left.len())..];
        }
    }

    fn name(&mut self) -> Option<usize> {
        let end = self.left.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(self.left.len());
        let (name, rest) = self.left.split_at(end);
        if name.is_empty() {
            return None;
        }
        self.left = rest;
        let n = self.ids.len();
        Some(*self.ids.entry(name).or_insert(n))
    }

    fn alternatives(&mut self, rule: &mut Rule, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        loop {
            self.sequence(rule, depth)?;
            if self.take("|").is_none() {
                return Some(());
            }
            self.skip(true);
            rule.text.push_str(" | ");
        }
    }

    fn sequence(&mut self, rule: &mut Rule, depth: usize) -> Option<()> {
        let mut is_empty = true;
        loop {
            let c = self.left.chars().next();
            match c {
                Some('"') => {
                    self.take("\"")?;
                    rule.text += &self.literal()?;
                }
                Some('[') => {
                    self.take("[")?;
                    rule.text += &self.class()?;
                }
                Some('.') => {
                    self.take(".")?;
                    rule.text += ANY;
                }
                Some('(') => {
                    self.take("(")?;
                    self.skip(true);
                    rule.text.push('(');
                    self.alternatives(rule, depth + 1)?;
                    self.take(")")?;
                    rule.text.push(')');
                }
                Some(c) if c.is_ascii_alphanumeric() || c == '-' => {
                    let id = self.name()?;
                    rule.names.push(id);
                    let _ = write!(rule.text, "R{id}");
                }
                // Tokens.
                Some('<' | '!') => return None,
                Some(c) if "*+?{".contains(c) => return None,
                _ => {
                    if is_empty {
                        rule.text.push_str("\"\"");
                    }
                    return Some(());
                }
            }
            is_empty = false;
            self.skip(depth > 0);
            self.repetitions(rule, depth)?;
            rule.text.push(' ');
        }
    }

    /// What repeats the element in front of it; one behind the other repeats what is repeated.
    fn repetitions(&mut self, rule: &mut Rule, depth: usize) -> Option<()> {
        let mut n = 0;
        while let Some(c) = self.left.chars().next().filter(|c| "*+?{".contains(*c)) {
            self.left = &self.left[1..];
            n += 1;
            // The grammar that is written would need a group.
            if n > 1 {
                return None;
            }
            if c == '{' {
                let (least, most) = self.times(depth > 0)?;
                let most = most.map_or_else(String::new, |most| most.to_string());
                let _ = write!(rule.text, "{{{least},{most}}}");
            } else {
                rule.text.push(c);
            }
            self.skip(depth > 0);
        }
        Some(())
    }

    /// `2}`, `2,}`, `2,5}`.
    fn times(&mut self, may_break: bool) -> Option<(usize, Option<usize>)> {
        let least = self.number(may_break)?;
        let most = if self.take(",").is_some() { self.number(may_break) } else { Some(least) };
        self.take("}")?;
        let is_fine = least <= MAX_TIMES && most.is_none_or(|most| most >= least);
        // More than so many times is as often as one likes, as llama.cpp has it.
        is_fine.then_some((least, most.filter(|most| *most <= MAX_TIMES)))
    }

    fn number(&mut self, may_break: bool) -> Option<usize> {
        self.skip(may_break);
        let end = self.left.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.left.len());
        let number = self.left[..end].parse().ok();
        self.left = &self.left[end..];
        self.skip(may_break);
        number
    }

    fn literal(&mut self) -> Option<String> {
        let mut text = String::new();
        while self.take("\"").is_none() {
            text += &escaped(self.character()?);
        }
        Some(if text.is_empty() { "\"\"".to_owned() } else { format!("/{text}/") })
    }

    fn class(&mut self) -> Option<String> {
        let mut members = String::new();
        let is_not = self.take("^").is_some();
        while self.take("]").is_none() {
            let from = self.character()?;
            members += &escaped(from);
            if self.left.starts_with('-') && !self.left[1..].starts_with(']') {
                self.take("-")?;
                let to = self.character()?;
                if to < from {
                    return None;
                }
                members.push('-');
                members += &escaped(to);
            }
        }
        // llama.cpp reads an empty one as nothing.
        if members.is_empty() {
            return None;
        }
        Some(format!("/[{}{members}]/", if is_not { "^" } else { "" }))
    }

    /// The next character of a literal or a class.
    fn character(&mut self) -> Option<char> {
        let mut chars = self.left.chars();
        let c = match chars.next()? {
            '\\' => {
                let escape = chars.next()?;
                let n_hex = match escape {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    _ => 0,
                };
                match escape {
                    _ if n_hex > 0 => {
                        let hex: String = chars.by_ref().take(n_hex).collect();
                        let is_hex = hex.len() == n_hex && hex.chars().all(|c| c.is_ascii_hexdigit());
                        is_hex.then(|| u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32))??
                    }
                    't' => '\t',
                    'r' => '\r',
                    'n' => '\n',
                    '\\' | '"' | '[' | ']' | '-' => escape,
                    _ => return None,
                }
            }
            c => c,
        };
        self.left = chars.as_str();
        Some(c)
    }
}

/// A character in a regular expression.
fn escaped(c: char) -> String {
    if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\u{{{:X}}}", u32::from(c)) }
}
