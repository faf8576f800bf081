//! What a run found, as text for people or as one JSON object.

use std::fmt::Write;

use serde_json::{Value, json};

/// The findings of one run.
#[derive(Debug)]
pub(crate) struct Report {
    /// The verb, which names the schema: `haldane.bench.VERB/1`.
    pub(crate) verb: &'static str,
    /// What limits the meaning of the numbers; printed first.
    pub(crate) notes: Vec<String>,
    /// For people.
    pub(crate) tables: Vec<Table>,
    /// For programs: the field `results`.
    pub(crate) results: Vec<Value>,
}

/// Aligned columns under a title.
#[derive(Debug)]
pub(crate) struct Table {
    /// What is shown, under which conditions.
    pub(crate) title: String,
    /// Column heads; the first column is flush left, the others are flush right.
    pub(crate) columns: Vec<String>,
    /// As many cells as there are columns.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Report {
    /// All of it for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for note in &self.notes {
            let _infallible = writeln!(text, "NOTE: {note}");
        }
        for table in &self.tables {
            let _infallible = write!(text, "\n{}", table.text());
        }
        text
    }

    /// All of it as one line of JSON.
    pub(crate) fn json(&self) -> String {
        let schema = format!("haldane.bench.{}/1", self.verb);
        let (notes, results) = (&self.notes, &self.results);
        format!(
            "{}\n",
            json!({ "schema": schema, "notes": notes, "results": results })
        )
    }
}

impl Table {
    fn text(&self) -> String {
        let width = |at: usize| {
            let cells = self
                .rows
                .iter()
                .filter_map(|row| row.get(at))
                .chain(self.columns.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = format!("{}\n", self.title);
        for row in std::iter::once(&self.columns).chain(&self.rows) {
            let mut line = String::new();
            for (at, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let _infallible = match at {
                    0 => write!(line, "  {cell:<width$}"),
                    _ => write!(line, "  {cell:>width$}"),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let table = Table {
            title: "title".to_owned(),
            columns: vec!["proxy".to_owned(), "µs".to_owned()],
            rows: vec![
                vec!["l4".to_owned(), "10.25".to_owned()],
                vec!["haproxy".to_owned(), "1".to_owned()],
            ],
        };
        let results = vec![json!({ "proxy": "l4" })];
        Report {
            verb: "compare",
            notes: vec!["noisy".to_owned()],
            tables: vec![table],
            results,
        }
    }

    #[test]
    fn columns_are_aligned_by_characters() {
        let expected =
            "NOTE: noisy\n\ntitle\n  proxy       µs\n  l4       10.25\n  haproxy      1\n";
        assert_eq!(report().text(), expected);
    }

    #[test]
    fn json_names_its_schema() {
        let value: Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(value["schema"], "haldane.bench.compare/1");
        assert_eq!(value["results"][0]["proxy"], "l4");
        assert_eq!(value["notes"][0], "noisy");
    }
}
