//! "Did you mean …?": the known word that is closest to a mistyped one.

/// Words longer than this are no typing mistakes, and comparing them costs time.
const WORD_BYTES_MAX: usize = 64;

/// The closest of `known`, if it is close enough to be what was meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let word = normal(word);
    // A third of the letters may be wrong: `lisen` for `listen`, but not `port` for `host`.
    known
        .into_iter()
        .map(|candidate| (distance(&word, &normal(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Lower case, and one kind of separator.
fn normal(word: &str) -> Vec<char> {
    word.chars()
        .flat_map(char::to_lowercase)
        .map(|c| if c == '-' { '_' } else { c })
        .collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that make `from` into `to`
/// (optimal string alignment).
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, &left) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, &right) in to.iter().enumerate() {
            let replaced = last[column] + usize::from(left != right);
            let mut least = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && from[row - 1] == right && to[column - 1] == left {
                least = least.min(before[column - 1] + 1);
            }
            current.push(least);
        }
        before = std::mem::replace(&mut last, current);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest, normal};

    #[test]
    fn typing_mistakes_find_their_word() {
        let known = ["listen", "workers", "trusted_proxies", "drain", "limits"];
        for (word, expected) in [
            ("lisen", Some("listen")),
            ("lsiten", Some("listen")),
            ("Listen", Some("listen")),
            ("trusted-proxies", Some("trusted_proxies")),
            ("trusted_proxy", Some("trusted_proxies")),
            ("worker", Some("workers")),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }

    #[test]
    fn distance_is_symmetric_and_counts_swaps_once() {
        for (left, right, expected) in [
            ("ab", "ba", 1),
            ("abc", "", 3),
            ("", "", 0),
            ("kitten", "sitting", 3),
        ] {
            let (left, right) = (normal(left), normal(right));
            assert_eq!(distance(&left, &right), expected);
            assert_eq!(distance(&right, &left), expected);
        }
    }
}
