//! Markdown tables that can be read as they are.

/// A table with a line of names.
pub(super) struct Table {
    lines: Vec<Vec<String>>,
    /// Columns of words stand to the left, those of numbers to the right.
    words: Vec<usize>,
}

impl Table {
    /// The first column and those called in `words` are of words.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>, words: &[&str]) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let is_words = |&i: &usize| i == 0 || words.contains(&names[i].as_str());
        Self { words: (0..names.len()).filter(is_words).collect(), lines: vec![names] }
    }

    /// Adds a line; what it lacks stays empty.
    pub fn add<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.lines.push(cells.into_iter().map(Into::into).collect());
    }

    pub fn text(&self) -> String {
        let n_columns = self.lines[0].len();
        let width = |column: usize| {
            let cells = self.lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<_> = (0..n_columns).map(width).collect();
        let is_words = |column: usize| self.words.contains(&column);
        let line = |cells: &Vec<String>| {
            let cell = |(column, &width): (usize, &usize)| {
                let cell = cells.get(column).map_or("", String::as_str);
                if is_words(column) { format!("| {cell:<width$} ") } else { format!("| {cell:>width$} ") }
            };
            widths.iter().enumerate().map(cell).collect::<String>() + "|\n"
        };
        let rule = |(column, &width): (usize, &usize)| {
            let end = if is_words(column) { "-" } else { ":" };
            format!("| {}{end} ", "-".repeat(width - 1))
        };
        let rule = widths.iter().enumerate().map(rule).collect::<String>() + "|\n";
        let (names, lines) = self.lines.split_at(1);
        names.iter().map(line).chain([rule]).chain(lines.iter().map(line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["model", "t/s", "role"], &["role"]);
        table.add(["a", "1234.5 ± 6", "base"]);
        table.add(["b"]);
        let expected = "\
| model |        t/s | role |
| ----- | ---------: | ---- |
| a     | 1234.5 ± 6 | base |
| b     |            |      |
";
        assert_eq!(table.text(), expected);
    }
}
