//! Renders the manual page `rsp(1)` from the command line's own table.

use std::{fs, path::Path};

use clap::CommandFactory;
use clap_mangen::Man;

use super::{Line, exec, flags::Flag};

/// What the table of arguments doesn't say.
const REST: &str = include_str!("manual.roff");

/// The manual page; `doc/rsp.1` is this text.
fn manual() -> String {
    let mut line = Line::command().disable_help_flag(true).disable_version_flag(true);
    line.build();
    let man = Man::new(line.clone()).title("RSP").manual("User commands").source("rsp");
    let mut page = Vec::new();
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    page.extend_from_slice(b".SH COMMANDS\n");
    for command in line.get_subcommands() {
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").replace('-', "\\-");
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        page.extend_from_slice(format!(".TP\n\\fB{usage}\\fR\n{about}\n").as_bytes());
        let options = command.get_arguments().filter(|option| !option.is_hide_set());
        for option in options.filter_map(|option| Some((option.get_long()?, option.get_help()?.to_string()))) {
            page.extend_from_slice(format!(".RS\n.TP\n\\fB\\-\\-{}\\fR\n{}\n.RE\n", option.0, option.1).as_bytes());
        }
    }
    page.extend_from_slice(
        b".SH FLAGS OF EXEC\nThey are websocketd's; one hyphen will do, too. The first other word is the program.\n",
    );
    for Flag { name, takes, help } in exec::FLAGS {
        let (name, help) = (format!("--{name}{}", takes.value()).replace('-', "\\-"), help.replace('-', "\\-"));
        page.extend_from_slice(format!(".TP\n\\fB{name}\\fR\n{help}\n").as_bytes());
    }
    page.extend_from_slice(REST.as_bytes());
    String::from_utf8(page).unwrap()
}

#[test]
fn the_reference_of_commands_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../doc/rsp.1");
    let wanted = manual();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "doc/rsp.1 is stale; run `make reference`");
}
