//! The nearest right word to a wrong one.

/// The candidate that a person most likely meant, by edit distance (transpositions count as one); None when all are far.
///
/// Words longer than 64 bytes have no nearest one, which bounds the work.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if word.is_empty() || word.len() > WORD_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    let allowed = (lower.len() / 3).max(1);
    let near = |candidate: &'c str| {
        let far = candidate.len() > WORD_MAX || candidate.len().abs_diff(lower.len()) > allowed;
        let distance = if far { usize::MAX } else { distance(lower.as_bytes(), candidate.to_lowercase().as_bytes()) };
        (distance <= allowed).then_some((distance, candidate))
    };
    candidates.into_iter().filter_map(near).min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

const WORD_MAX: usize = 64;

/// Optimal string alignment: insert, delete, replace, or swap two neighbours.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_typing_mistake_finds_the_word_that_was_meant() {
        let words = ["timeout", "body_timeout", "strip", "host"];
        for (wrong, right) in
            [("tmieout", "timeout"), ("Timeout", "timeout"), ("hots", "host"), ("bodytimeout", "body_timeout")]
        {
            assert_eq!(nearest(wrong, words), Some(right), "{wrong}");
        }
    }

    #[test]
    fn a_word_unlike_all_others_has_no_nearest() {
        assert_eq!(nearest("certificate", ["timeout", "strip"]), None);
        assert_eq!(nearest("", ["a"]), None);
        assert_eq!(nearest(&"a".repeat(65), ["a"]), None);
    }
}
