//! What rules begin with: the ways that llama.cpp goes before a character is matched.

use super::reader::{Item, Rule};

/// Ways through first elements from one rule.
const MAX_WAYS: usize = 1 << 18;
/// Rules that follow one another as first elements.
const MAX_CHAIN: usize = 4096;
/// Terminals that may come next at one place.
const MAX_WIDTH: usize = 1024;

/// Rules by what they begin with.
pub struct Graph<'a> {
    rules: &'a [Rule],
    /// Rules that match nothing too.
    is_empty: Vec<bool>,
    /// Rules that stand first in each, and whether something stands behind them.
    first: Vec<Vec<(usize, bool)>>,
    /// Terminals that stand first in each.
    n_terminals: Vec<usize>,
}

impl<'a> Graph<'a> {
    pub fn of(rules: &'a [Rule]) -> Self {
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

    /// Why they are refused.
    pub fn check(&self) -> Result<(), String> {
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
