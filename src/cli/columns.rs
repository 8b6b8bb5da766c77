//! Tables of Consul's shape: columns two spaces apart, nothing behind the last one.

/// Lines of columns that are as wide as their widest cell.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    spaced(rows, "  ")
}

/// The same with another gap.
pub fn spaced(rows: &[Vec<String>], gap: &str) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut out = String::new();
        for (column, cell) in row.iter().enumerate() {
            out += cell;
            if column + 1 < row.len() {
                let pad = widths[column] - cell.chars().count();
                out += &" ".repeat(pad);
                out += gap;
            }
        }
        out
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_last_is_not_padded() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let rows = [row("Node", "ID"), row("n", "12345"), row("node-2", "")];
        assert_eq!(table(&rows), ["Node    ID", "n       12345", "node-2  "]);
    }
}
