//! The users that an operator names, with the hashes of their passwords; a file of them is an htpasswd file.

use super::{HashError, PasswordHash};

/// Users of one list.
pub const USERS_MAX: usize = 10_000;
/// Bytes of a name.
const NAME_MAX: usize = 255;

/// Users by name; each name once, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users(Box<[(Box<str>, PasswordHash)]>);

/// What is wrong with one user of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The line of the file, from 1 on; of a list that is no file, the place in it.
    pub number: usize,
    /// What is wrong.
    pub message: String,
    /// What is wrong with the hash, if that is what it is.
    pub hash: Option<HashError>,
}

impl Users {
    /// Reads an htpasswd file: `name:hash` a line, and after another colon what nobody reads. Empty lines, and those
    /// that begin with `#`, don't count.
    ///
    /// # Errors
    /// All lines that are wrong, in their order.
    pub fn read(text: &str) -> Result<Self, Vec<Line>> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        Self::gather(lines.map(|(number, line)| (number, line.split_once(':').unwrap_or_default())))
    }

    /// The users of pairs of a name and a hash, with their numbers.
    ///
    /// # Errors
    /// All pairs that are wrong, in their order.
    pub fn gather<'a>(pairs: impl Iterator<Item = (usize, (&'a str, &'a str))>) -> Result<Self, Vec<Line>> {
        let (mut users, mut wrong) = (Vec::new(), Vec::new());
        for (number, (name, hash)) in pairs {
            let hash = hash.split(':').next().unwrap_or_default().trim();
            match user(number, name, hash) {
                Ok(user) => users.push((user, number)),
                Err(line) => wrong.push(line),
            }
        }
        // Stable: of two with one name the later one is the second.
        users.sort_by(|((a, _), _), ((b, _), _)| a.cmp(b));
        let twice = users.windows(2).filter(|pair| pair[0].0.0 == pair[1].0.0).map(|pair| &pair[1]);
        wrong.extend(twice.map(|((name, _), number)| line(*number, format!("`{}` is in it twice", shown(name)))));
        if users.len() > USERS_MAX {
            wrong.push(line(0, format!("more than {USERS_MAX} users")));
        }
        if users.is_empty() && wrong.is_empty() {
            wrong.push(line(0, "nobody is in it".to_owned()));
        }
        wrong.sort_by_key(|line| line.number);
        if wrong.is_empty() { Ok(Self(users.into_iter().map(|(user, _)| user).collect())) } else { Err(wrong) }
    }

    /// The hash of a user's password.
    pub fn find(&self, name: &str) -> Option<&PasswordHash> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok().map(|index| &self.0[index].1)
    }

    /// Somebody's hash, for a name that nobody has: to check it takes as long as if somebody had it. One `seed` gives
    /// one hash.
    pub fn stand_in(&self, seed: u64) -> Option<&PasswordHash> {
        let index = seed.checked_rem(self.0.len() as u64)?;
        self.0.get(usize::try_from(index).ok()?).map(|(_, hash)| hash)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

fn user(number: usize, name: &str, hash: &str) -> Result<(Box<str>, PasswordHash), Line> {
    if name.is_empty() && hash.is_empty() {
        return Err(line(number, "this is no `name:hash`".to_owned()));
    }
    if name.is_empty() || name.len() > NAME_MAX || name.contains(|c: char| c.is_control() || c == ':') {
        return Err(line(number, format!("a user's name has 1 to {NAME_MAX} bytes, no colon, no control characters")));
    }
    if hash.is_empty() {
        return Err(line(number, format!("`{}` has no hash", shown(name))));
    }
    let wrong = |e| Line { number, message: format!("`{}` has {e}", shown(name)), hash: Some(e) };
    Ok((name.into(), PasswordHash::parse(hash).map_err(wrong)?))
}

fn shown(name: &str) -> std::str::EscapeDebug<'_> {
    name.escape_debug()
}

fn line(number: usize, message: String) -> Line {
    Line { number, message, hash: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$04$2m/cwqLoplQT1je8GxRh7u9zv8xPdijkvSlpzgoiaJK.kkdDFQ9iS";

    #[test]
    fn a_file_is_names_and_hashes() {
        let text = format!("# ours\r\n\r\nbob:{HASH}\r\nälice:{HASH}:a comment\n  carol:{HASH}  \n");
        let users = Users::read(&text).unwrap();
        assert_eq!(users.count(), 3);
        for name in ["bob", "älice", "carol"] {
            assert_eq!(users.find(name).map(PasswordHash::text), Some(HASH), "{name}");
        }
        assert!(users.find("alice").is_none() && users.find("").is_none());
        assert!(users.stand_in(u64::MAX).is_some());
    }

    #[test]
    fn every_wrong_line_is_told_with_its_number() {
        let text = format!("a:{HASH}\nb\nc:\n:{HASH}\nd:secret\na:{HASH}\ne:$apr1$x$y\n");
        let wrong = Users::read(&text).unwrap_err();
        let said: Vec<_> = wrong.iter().map(|line| (line.number, line.message.as_str())).collect();
        assert_eq!(
            said,
            [
                (2, "this is no `name:hash`"),
                (3, "`c` has no hash"),
                (4, "a user's name has 1 to 255 bytes, no colon, no control characters"),
                (5, "`d` has no hash that is known"),
                (6, "`a` is in it twice"),
                (7, "`e` has a hash that is too weak: MD5"),
            ]
        );
        assert!(!format!("{wrong:?}").contains("secret"));
    }

    #[test]
    fn an_empty_list_and_an_endless_one_are_wrong() {
        for empty in ["", "# nobody\n", "\n\n"] {
            assert_eq!(Users::read(empty).unwrap_err()[0].message, "nobody is in it", "{empty:?}");
        }
        let many: String = (0..=USERS_MAX).map(|number| format!("u{number}:{HASH}\n")).collect();
        assert_eq!(Users::read(&many).unwrap_err()[0].message, "more than 10000 users");
    }
}
