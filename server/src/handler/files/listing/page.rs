//! The page of a folder: for any browser, without scripts, for keyboards and small screens.

use std::fmt::{self, Display, Write};

use jiff::Timestamp;
use percent_encoding::percent_encode;

use super::{
    By, Order, PAGE_MAX, Place,
    entries::{Entry, Folder},
};
use crate::handler::files::PATH;

/// Nothing on the page is loaded or run.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE: &str = include_str!("page.css");

/// The page, and whether it leaves something out.
pub fn render(place: &Place, mut folder: Folder, order: Order) -> (Vec<u8>, bool) {
    let path = Shown(&place.path).to_string();
    let mut rows = String::new();
    if !place.folder.is_empty() {
        let _ = writeln!(rows, "<tr><td><a href=\"../{}\">..</a></td><td></td><td></td></tr>", query(order));
    }
    let mut shown = 0;
    for entry in &folder.entries {
        if rows.len() >= PAGE_MAX {
            folder.is_cut = true;
            break;
        }
        row(&mut rows, entry, order);
        shown += 1;
    }
    folder.entries.truncate(shown);
    let mut page = String::with_capacity(rows.len() + STYLE.len() + (2 << 10));
    let _ = writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{path}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<h1>{}</h1>\n<table>\n<thead><tr>{}{}{}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n\
         <p>{}</p>\n</main>\n</body>\n</html>",
        Crumbs(place),
        Heading { name: "Name", by: By::Name, order },
        Heading { name: "Size", by: By::Size, order },
        Heading { name: "Modified", by: By::Time, order },
        Summary(&folder),
    );
    (page.into_bytes(), folder.is_cut)
}

/// A time that a file may have; None for one before or after all calendars.
pub fn timestamp(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(seconds).ok()
}

fn row(rows: &mut String, entry: &Entry, order: Order) {
    let slash = if entry.is_folder { "/" } else { "" };
    // `./` keeps a name with a colon from being taken for a scheme.
    let _ = write!(rows, "<tr><td><a href=\"./{}{slash}", Encoded(&entry.name));
    if entry.is_folder {
        rows.push_str(query(order));
    }
    let _ = write!(rows, "\">{}{slash}</a></td>", Shown(&entry.name));
    let _ = match entry.is_folder {
        true => write!(rows, "<td></td>"),
        false => write!(rows, "<td title=\"{} bytes\">{}</td>", Grouped(entry.size), Human(entry.size)),
    };
    let _ = match timestamp(entry.modified) {
        Some(time) => {
            writeln!(rows, "<td><time datetime=\"{time}\">{}</time></td></tr>", time.strftime("%Y-%m-%d %H:%M"))
        }
        None => writeln!(rows, "<td></td></tr>"),
    };
}

/// What keeps the order on the way into a folder; an ampersand as HTML has it.
fn query(order: Order) -> &'static str {
    match (order.by, order.descending) {
        (By::Name, false) => "",
        (By::Name, true) => "?sort=name&amp;order=desc",
        (By::Size, false) => "?sort=size&amp;order=asc",
        (By::Size, true) => "?sort=size&amp;order=desc",
        (By::Time, false) => "?sort=time&amp;order=asc",
        (By::Time, true) => "?sort=time&amp;order=desc",
    }
}

/// A column's head: a link that sorts by it, or turns the order around.
struct Heading {
    name: &'static str,
    by: By,
    order: Order,
}

impl Display for Heading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_current = self.by == self.order.by;
        let (sorted, arrow) = match (is_current, self.order.descending) {
            (false, _) => ("none", ""),
            (true, false) => ("ascending", " ↑"),
            (true, true) => ("descending", " ↓"),
        };
        let next = Order { by: self.by, descending: is_current && !self.order.descending };
        let target = if query(next).is_empty() { "?sort=name&amp;order=asc" } else { query(next) };
        write!(f, "<th scope=\"col\" aria-sort=\"{sorted}\"><a href=\"{target}\">{}{arrow}</a></th>", self.name)
    }
}

/// The way to a folder from the top of what is served; links are relative, for somebody may stand in front of us.
struct Crumbs<'a>(&'a Place);

impl Display for Crumbs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let top = self.0.path.strip_suffix(&self.0.folder[..]).unwrap_or(&self.0.path);
        let names: Vec<&[u8]> = self.0.folder.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
        let mut crumb = |shown: &[u8], slash: &str, up: usize| match up {
            0 => write!(f, "<span>{}{slash}</span>", Shown(shown)),
            _ => write!(f, "<a href=\"{}\">{}{slash}</a>", "../".repeat(up), Shown(shown)),
        };
        crumb(top, "", names.len())?;
        for (depth, name) in names.iter().enumerate() {
            crumb(name, "/", names.len() - depth - 1)?;
        }
        Ok(())
    }
}

struct Summary<'a>(&'a Folder);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = &self.0.entries;
        if self.0.is_cut {
            return write!(f, "There is more here: only {} entries are listed.", Grouped(entries.len() as u64));
        }
        let folders = entries.iter().filter(|entry| entry.is_folder).count();
        let counted = |count: usize, one: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{} {one}s", Grouped(count as u64)),
        };
        match entries.is_empty() {
            true => f.write_str("This folder is empty."),
            false => write!(
                f,
                "{}, {}. <span>Times are UTC.</span>",
                counted(folders, "folder"),
                counted(entries.len() - folders, "file")
            ),
        }
    }
}

/// A name as text of HTML: control characters get their pictures, bytes that are no UTF-8 the replacement character.
struct Shown<'a>(&'a [u8]);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in String::from_utf8_lossy(self.0).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\u{0}'..'\u{20}' => f.write_char(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'))?,
                // Also what would turn the direction of the text around.
                '\u{7f}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A name as one segment of a link.
struct Encoded<'a>(&'a [u8]);

impl Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SEGMENT: &percent_encoding::AsciiSet = &PATH.add(b'/').add(b'&').add(b'\'');
        percent_encode(self.0, SEGMENT).fmt(f)
    }
}

/// `1.2 MiB`
struct Human(u64);

impl Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut size = self.0 as f64 / 1024.0;
        let mut unit = 0;
        // What would be rounded to 1024 is one of the next.
        while size >= 1023.5 && unit + 1 < UNITS.len() {
            size /= 1024.0;
            unit += 1;
        }
        let decimals = usize::from(size < 9.95);
        write!(f, "{size:.decimals$} {}", UNITS[unit])
    }
}

/// `1,234,567`
struct Grouped(u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (size, wanted) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_240, "10 KiB"),
            (1_048_575, "1.0 MiB"),
            (1_300_000, "1.2 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(Human(size).to_string(), wanted);
        }
        assert_eq!((Grouped(999).to_string(), Grouped(1_234_567).to_string()), ("999".into(), "1,234,567".into()));
    }

    #[test]
    fn names_are_text_on_the_page_and_one_segment_in_a_link() {
        for (name, shown, encoded) in [
            (&b"a b"[..], "a b", "a%20b"),
            (b"<b>\"'&", "&lt;b&gt;&quot;&#39;&amp;", "%3Cb%3E%22%27%26"),
            (b"a#b?c%d", "a#b?c%d", "a%23b%3Fc%25d"),
            (b"a\nb\\c", "a\u{240a}b\\c", "a%0Ab%5Cc"),
            (b"\xff\xc3\xa9", "\u{fffd}é", "%FF%C3%A9"),
            ("x\u{202e}gpj".as_bytes(), "x\u{fffd}gpj", "x%E2%80%AEgpj"),
        ] {
            assert_eq!((Shown(name).to_string().as_str(), Encoded(name).to_string().as_str()), (shown, encoded));
        }
    }
}
