//! GBNF as llama.cpp reads it: rules of alternatives, groups and repetitions unfolded into rules of their own.

use std::collections::HashMap;

/// Groups in one another.
pub const MAX_DEPTH: usize = 256;
/// Elements of all rules, unfolded.
const MAX_ELEMENTS: usize = 1 << 18;
/// Times that something is repeated, as llama.cpp has it.
const MAX_TIMES: usize = 2000;

/// What a sequence is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    Terminal,
    Rule(usize),
}

/// Alternatives, each a sequence.
pub type Rule = Vec<Vec<Item>>;

/// The rules of a grammar, or why there are none.
pub fn rules(grammar: &str) -> Result<Vec<Rule>, String> {
    let mut reader = Reader { left: grammar, rules: Vec::new(), names: HashMap::new(), n_elements: 0, depth: 0 };
    reader.read()?;
    Ok(reader.rules)
}

struct Reader<'a> {
    left: &'a str,
    rules: Vec<Rule>,
    names: HashMap<&'a str, usize>,
    n_elements: usize,
    /// Groups that are open.
    depth: usize,
}

impl<'a> Reader<'a> {
    fn read(&mut self) -> Result<(), String> {
        self.space(true);
        while !self.left.is_empty() {
            let name = self.name()?;
            self.space(false);
            if !self.take("::=") {
                return Err(self.expected("::="));
            }
            self.space(true);
            let rule = self.id(name);
            self.rules[rule] = self.alternatives(false)?;
            if !(self.take("\r\n") || self.take("\n") || self.take("\r") || self.left.is_empty()) {
                return Err(self.expected("the end of the line"));
            }
            self.space(true);
        }
        Ok(())
    }

    fn expected(&self, what: &str) -> String {
        let got: String = self.left.chars().take(20).collect();
        format!("expected {what}, got {got:?}")
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.left.strip_prefix(text);
        self.left = rest.unwrap_or(self.left);
        rest.is_some()
    }

    fn space(&mut self, may_break: bool) {
        loop {
            self.left = self.left.trim_start_matches(|c| " \t".contains(c) || may_break && "\r\n".contains(c));
            if !self.left.starts_with('#') {
                return;
            }
            let end = self.left.find(['\r', '\n']).unwrap_or(self.left.len());
            self.left = &self.left[end..];
        }
    }

    fn name(&mut self) -> Result<&'a str, String> {
        let end = self.left.find(|c: char| !is_word(c)).unwrap_or(self.left.len());
        if end == 0 {
            return Err(self.expected("a name"));
        }
        let (name, rest) = self.left.split_at(end);
        self.left = rest;
        Ok(name)
    }

    fn id(&mut self, name: &'a str) -> usize {
        let n = self.rules.len();
        let id = *self.names.entry(name).or_insert(n);
        if id == n {
            self.rules.push(Rule::new());
        }
        id
    }

    fn add(&mut self, rule: Rule) -> usize {
        self.rules.push(rule);
        self.rules.len() - 1
    }

    /// Counts elements that a rule is to have.
    fn count(&mut self, n: usize) -> Result<(), String> {
        self.n_elements = self.n_elements.saturating_add(n);
        if self.n_elements > MAX_ELEMENTS {
            return Err(format!("with its repetitions it has more than {MAX_ELEMENTS} elements"));
        }
        Ok(())
    }

    fn alternatives(&mut self, is_nested: bool) -> Result<Rule, String> {
        let mut rule = vec![self.sequence(is_nested)?];
        while self.take("|") {
            self.space(true);
            rule.push(self.sequence(is_nested)?);
        }
        Ok(rule)
    }

    fn sequence(&mut self, is_nested: bool) -> Result<Vec<Item>, String> {
        let mut items = Vec::new();
        // Where what a repetition repeats begins.
        let mut last = 0;
        loop {
            let mut chars = self.left.chars();
            let Some(c) = chars.next() else { return Ok(items) };
            let rest = chars.as_str();
            if "*+?{".contains(c) {
                self.left = rest;
                let (least, most) = match c {
                    '*' => (0, None),
                    '+' => (1, None),
                    '?' => (0, Some(1)),
                    _ => self.times(is_nested)?,
                };
                self.repeat(&mut items, last, least, most)?;
            } else {
                let begins = items.len();
                match c {
                    '"' => {
                        self.left = rest;
                        let n = self.characters('"')?;
                        items.resize(begins + n, Item::Terminal);
                    }
                    '[' => {
                        self.left = rest.strip_prefix('^').unwrap_or(rest);
                        let n = self.characters(']')?;
                        // Each of its characters is looked at; an empty one is nothing.
                        self.count(n)?;
                        items.resize(begins + n.min(1), Item::Terminal);
                    }
                    '<' | '!' => {
                        let end = self.left.find('>').ok_or_else(|| self.expected("a token as in <[7]>"))?;
                        self.left = &self.left[end + 1..];
                        items.push(Item::Terminal);
                    }
                    '.' => {
                        self.left = rest;
                        items.push(Item::Terminal);
                    }
                    '(' => {
                        self.left = rest;
                        self.space(true);
                        self.depth += 1;
                        if self.depth > MAX_DEPTH {
                            return Err(format!("its parentheses nest more than {MAX_DEPTH} deep"));
                        }
                        let group = self.alternatives(true)?;
                        self.depth -= 1;
                        if !self.take(")") {
                            return Err(self.expected(")"));
                        }
                        let group = self.add(group);
                        items.push(Item::Rule(group));
                    }
                    c if is_word(c) => {
                        let name = self.name()?;
                        items.push(Item::Rule(self.id(name)));
                    }
                    _ => return Ok(items),
                }
                self.count(items.len() - begins + 1)?;
                last = begins;
            }
            self.space(is_nested);
        }
    }

    /// Characters up to the one that ends them.
    fn characters(&mut self, end: char) -> Result<usize, String> {
        let mut n = 0;
        loop {
            let mut chars = self.left.chars();
            match chars.next() {
                None => return Err(self.expected(&end.to_string())),
                Some('\\') => {
                    let n_hex = match chars.next() {
                        Some('x') => 2,
                        Some('u') => 4,
                        Some('U') => 8,
                        Some('t' | 'r' | 'n' | '\\' | '"' | '[' | ']' | '-') => 0,
                        _ => return Err(self.expected("an escape that is known")),
                    };
                    if (0..n_hex).any(|_| chars.next().is_none_or(|c| !c.is_ascii_hexdigit())) {
                        return Err(self.expected(&format!("{n_hex} hexadecimal digits")));
                    }
                }
                Some(c) if c == end => {
                    self.left = chars.as_str();
                    return Ok(n);
                }
                Some(_) => {}
            }
            n += 1;
            self.left = chars.as_str();
        }
    }

    /// `{2}`, `{2,}`, `{2,5}`, behind the bracket.
    fn times(&mut self, may_break: bool) -> Result<(usize, Option<usize>), String> {
        let number = |reader: &mut Self| -> Option<usize> {
            reader.space(may_break);
            let end = reader.left.find(|c: char| !c.is_ascii_digit()).unwrap_or(reader.left.len());
            let number = reader.left[..end].parse().ok();
            reader.left = &reader.left[end..];
            reader.space(may_break);
            number
        };
        let least = number(self).ok_or_else(|| self.expected("a number of times"))?;
        let most = if self.take(",") { number(self) } else { Some(least) };
        if !self.take("}") {
            return Err(self.expected("}"));
        }
        if least > MAX_TIMES || most.is_some_and(|most| most < least) {
            let most = most.map_or_else(String::new, |most| most.to_string());
            return Err(format!(
                "{{{least},{most}}} repeats more often than {MAX_TIMES} times, or less than it has to"
            ));
        }
        Ok((least, most.filter(|most| *most <= MAX_TIMES)))
    }

    /// As llama.cpp unfolds it: what is there at least, and a rule for each time more.
    fn repeat(&mut self, items: &mut Vec<Item>, from: usize, least: usize, most: Option<usize>) -> Result<(), String> {
        let repeated = items[from..].to_vec();
        if repeated.is_empty() {
            return Err(self.expected("something in front of what repeats it"));
        }
        let n_rules = most.map_or(1, |most| most - least);
        self.count(repeated.len().saturating_mul(least + n_rules).saturating_add(n_rules))?;
        items.truncate(from);
        (0..least).for_each(|_| items.extend_from_slice(&repeated));
        let mut next = None;
        for _ in 0..n_rules {
            let own = self.rules.len();
            let mut once = repeated.clone();
            once.extend(if most.is_none() { Some(Item::Rule(own)) } else { next.map(Item::Rule) });
            next = Some(self.add(vec![once, Vec::new()]));
        }
        items.extend(next.map(Item::Rule));
        Ok(())
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}
