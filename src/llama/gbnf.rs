//! GBNF as llama.cpp reads it, far enough to tell what would run its parser or its matcher out of memory, stack or time.
//!
//! llama.cpp follows the first elements of rules to find out what may come next: through a rule's alternatives, and past
//! elements that may be empty. Four things there have no bound, and are refused here:
//! - a rule that leads back to itself before anything is matched, with something behind it: every round adds to the stack;
//! - rules that lead to the same rules on many ways: the check for left recursion walks every way;
//! - many characters that may come next at once: each of them is tried on every token;
//! - repetitions that are unfolded into more rules than there is memory for.

use std::collections::HashMap;

/// Groups in one another.
pub const MAX_DEPTH: usize = 256;
/// Elements of all rules, unfolded.
const MAX_ELEMENTS: usize = 1 << 18;
/// Ways through first elements from one rule.
const MAX_WAYS: usize = 1 << 18;
/// Rules that follow one another as first elements.
const MAX_CHAIN: usize = 4096;
/// Terminals that may come next at one place.
const MAX_WIDTH: usize = 1024;
/// Times that something is repeated, as llama.cpp has it.
const MAX_TIMES: usize = 2000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Terminal,
    Rule(usize),
}

/// Alternatives, each a sequence.
type Rule = Vec<Vec<Item>>;

/// Why a grammar is refused, to be put behind "the grammar is not valid: ".
pub fn check(grammar: &str) -> Result<(), String> {
    let mut reader = Reader { left: grammar, rules: Vec::new(), names: HashMap::new(), n_elements: 0, depth: 0 };
    reader.read()?;
    Graph::of(&reader.rules).check()
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

/// Rules by what they begin with.
struct Graph<'a> {
    rules: &'a [Rule],
    /// Rules that match nothing too.
    is_empty: Vec<bool>,
    /// Rules that stand first in each, and whether something stands behind them.
    first: Vec<Vec<(usize, bool)>>,
    /// Terminals that stand first in each.
    n_terminals: Vec<usize>,
}

impl<'a> Graph<'a> {
    fn of(rules: &'a [Rule]) -> Self {
        let is_empty = empty(rules);
        let mut first = vec![Vec::new(); rules.len()];
        let mut n_terminals = vec![0; rules.len()];
        for (i, rule) in rules.iter().enumerate() {
            for sequence in rule {
                for (at, item) in sequence.iter().enumerate() {
                    match item {
                        Item::Terminal => {
                            n_terminals[i] += 1;
                            break;
                        }
                        Item::Rule(rule) => {
                            first[i].push((*rule, at + 1 < sequence.len()));
                            if !is_empty[*rule] {
                                break;
                            }
                        }
                    }
                }
            }
        }
        Self { rules, is_empty, first, n_terminals }
    }

    fn check(&self) -> Result<(), String> {
        let widths = self.walk()?;
        let width = |item: &Item| if let Item::Rule(rule) = item { widths[*rule] } else { 1 };
        let behind = |rest: usize, item: &Item| match item {
            Item::Rule(rule) if self.is_empty[*rule] => width(item).saturating_add(rest),
            _ => width(item),
        };
        let widest = |sequence: &Vec<Item>| {
            let widths = sequence.iter().rev().scan(0, |rest, item| {
                *rest = behind(*rest, item);
                Some(*rest)
            });
            widths.max().unwrap_or(0)
        };
        let inside = self.rules.iter().flatten().map(widest);
        if inside.chain(widths.iter().copied()).any(|width| width > MAX_WIDTH) {
            return Err(format!("at one place more than {MAX_WIDTH} characters or tokens may come next"));
        }
        Ok(())
    }

    /// Follows first elements from every rule, circle by circle (Tarjan); how many terminals may come first in each.
    fn walk(&self) -> Result<Vec<usize>, String> {
        let n = self.rules.len();
        // The order in which rules were reached, and the earliest of those on the way that each leads back to.
        let (mut order, mut back, mut circle) = (vec![None; n], vec![0; n], vec![None; n]);
        let (mut ways, mut chain, mut width) = (vec![1_usize; n], vec![1_usize; n], vec![0_usize; n]);
        let (mut n_reached, mut open) = (0, Vec::new());
        for start in 0..n {
            // Rules, and which of their firsts is next.
            let mut way = if order[start].is_none() { vec![(start, 0)] } else { Vec::new() };
            while let Some((rule, next)) = way.last_mut() {
                let (rule, at) = (*rule, *next);
                *next += 1;
                if at == 0 {
                    (order[rule], back[rule]) = (Some(n_reached), n_reached);
                    n_reached += 1;
                    open.push(rule);
                }
                if let Some(&(other, _)) = self.first[rule].get(at) {
                    match order[other] {
                        None => way.push((other, 0)),
                        Some(reached) if circle[other].is_none() => back[rule] = back[rule].min(reached),
                        Some(_) => {}
                    }
                    continue;
                }
                way.pop();
                if let Some(&(before, _)) = way.last() {
                    back[before] = back[before].min(back[rule]);
                }
                if Some(back[rule]) == order[rule] {
                    let from = open.iter().rposition(|on| *on == rule).unwrap_or(0);
                    open.drain(from..).for_each(|member| circle[member] = Some(rule));
                }
                width[rule] = self.n_terminals[rule];
                for &(other, _) in &self.first[rule] {
                    ways[rule] = ways[rule].saturating_add(ways[other]);
                    chain[rule] = chain[rule].max(1 + chain[other]);
                    width[rule] = width[rule].saturating_add(width[other]);
                }
                if ways[rule] > MAX_WAYS {
                    return Err("its rules lead to one another on too many ways before anything is matched".to_owned());
                }
                if chain[rule] > MAX_CHAIN {
                    return Err(format!("more than {MAX_CHAIN} rules stand at one another's beginning"));
                }
            }
        }
        let adds = |rule: usize| self.first[rule].iter().any(|&(other, more)| more && circle[other] == circle[rule]);
        if (0..n).any(adds) {
            return Err("a rule begins with itself, or does where what stands before may be empty".to_owned());
        }
        Ok(width)
    }
}

/// Which rules match nothing too.
fn empty(rules: &[Rule]) -> Vec<bool> {
    let mut is_empty = vec![false; rules.len()];
    // Sequences that wait for a rule to be found empty.
    let mut waiting: Vec<Vec<(usize, &[Item])>> = vec![Vec::new(); rules.len()];
    let all = rules.iter().enumerate().flat_map(|(i, rule)| rule.iter().map(move |sequence| (i, sequence.as_slice())));
    let mut open: Vec<_> = all.collect();
    while let Some((rule, sequence)) = open.pop() {
        match sequence {
            _ if is_empty[rule] => {}
            [] => {
                is_empty[rule] = true;
                open.append(&mut waiting[rule]);
            }
            [Item::Terminal, ..] => {}
            [Item::Rule(other), rest @ ..] if is_empty[*other] => open.push((rule, rest)),
            [Item::Rule(other), rest @ ..] => waiting[*other].push((rule, rest)),
        }
    }
    is_empty
}

#[cfg(test)]
mod tests {
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
        for grammar in [
            "root",
            "root :: \"a\"",
            "root ::= \"a",
            "root ::= [a",
            "root ::= (\"a\"",
            "root ::= \"a\" )",
            "root ::= *",
        ] {
            refusal(grammar);
        }
        for grammar in ["root ::= \"\\q\"", "root ::= \"\\xZZ\"", "root ::= \"\\u12\"", "root ::= <[7]", "é ::= \"a\""]
        {
            refusal(grammar);
        }
    }
}
