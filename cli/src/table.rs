//! Tables as Kafka's scripts print them: a head, columns to the left, one space between.
//!
//! Knows nothing about where they are printed. Invariant: without a terminal no cell is cut, so
//! that programs can read them field by field.

/// A table in the making.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    /// The least width of every column.
    least: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table whose columns are so wide at least.
    pub(crate) fn with_widths(columns: &[(&'static str, usize)]) -> Self {
        Self {
            head: columns.iter().map(|(name, _)| *name).collect(),
            least: columns.iter().map(|(_, least)| *least).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines, cut to a terminal's width where there is one.
    pub(crate) fn lines(&self, width: Option<usize>, styled: bool) -> Vec<String> {
        let head: Vec<String> = self.head.iter().map(|&name| name.to_owned()).collect();
        let widths = self.widths(&head);
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        let first = fitted(&line_of(&head, &widths), width);
        lines.push(if styled {
            format!("\x1b[1m{first}\x1b[0m")
        } else {
            first
        });
        let rest = self
            .rows
            .iter()
            .map(|row| fitted(&line_of(row, &widths), width));
        lines.extend(rest);
        lines
    }

    fn widths(&self, head: &[String]) -> Vec<usize> {
        let mut widths = self.least.clone();
        for row in std::iter::once(head).chain(self.rows.iter().map(Vec::as_slice)) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }
}

fn line_of(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths);
    let padded: Vec<_> = padded
        .map(|(cell, &width)| format!("{cell:width$}"))
        .collect();
    padded.join(" ").trim_end().to_owned()
}

/// A line that does not wrap; what is cut off is marked.
fn fitted(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if line.chars().count() > width => {
            let kept: String = line.chars().take(width.saturating_sub(1)).collect();
            format!("{kept}…")
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_fit_a_terminal() {
        let mut table = Table::with_widths(&[("GROUP", 6), ("TOPIC", 0)]);
        table.row(vec!["g".to_owned(), "departures".to_owned()]);
        assert_eq!(
            table.lines(None, false),
            ["GROUP  TOPIC", "g      departures"]
        );
        assert_eq!(table.lines(Some(10), false), ["GROUP  TO…", "g      de…"]);
        assert!(table.lines(None, true).concat().starts_with("\x1b[1mGROUP"));
    }
}
