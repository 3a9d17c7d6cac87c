//! Markdown tables that can be read as they are.

/// A table with a line of names; numbers stand to the right.
pub(super) struct Table {
    lines: Vec<Vec<String>>,
    /// The columns that stand to the left, from the first on.
    n_left: usize,
}

impl Table {
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>, n_left: usize) -> Self {
        Self { lines: vec![names.into_iter().map(Into::into).collect()], n_left }
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
        let mut text = String::new();
        for (i, line) in self.lines.iter().enumerate() {
            for (column, &width) in widths.iter().enumerate() {
                let cell = line.get(column).map_or("", String::as_str);
                text += &if column < self.n_left { format!("| {cell:<width$} ") } else { format!("| {cell:>width$} ") };
            }
            text += "|\n";
            if i == 0 {
                for (column, &width) in widths.iter().enumerate() {
                    let end = if column < self.n_left { "-" } else { ":" };
                    text += &format!("| {}{end} ", "-".repeat(width - 1));
                }
                text += "|\n";
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["model", "t/s"], 1);
        table.add(["a", "1234.5 ± 6"]);
        table.add(["b"]);
        let expected = "\
| model |        t/s |
| ----- | ---------: |
| a     | 1234.5 ± 6 |
| b     |            |
";
        assert_eq!(table.text(), expected);
    }
}
