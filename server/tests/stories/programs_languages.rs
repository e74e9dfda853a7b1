//! Stories of programs that nobody here wrote, in the languages of the machine.
//!
//! A program that buffers what it prints into a pipe says nothing for a long time; each of these is told not to, in its own
//! way, and one that has no way of its own is by `stdbuf`.

use testkit::{Message, WebSocket};

use super::front;

#[test]
fn cat_says_what_it_hears() {
    talks("\"cat\"", &[("hello", "hello"), ("", ""), ("ünï – 猫", "ünï – 猫")]);
}

#[test]
fn bc_calculates() {
    talks("\"bc\", \"-q\"", &[("6 * 7", "42"), ("x = 2 ^ 100", ""), ("x", "1267650600228229401496703205376")]);
}

#[test]
fn bash_reads_lines_in_a_loop() {
    let script = r#"while read -r line; do echo "heard: $line"; done"#;
    talks(&format!("\"bash\", \"-c\", [[{script}]]"), &[("one", "heard: one"), ("a  b \\ c", "heard: a  b \\ c")]);
}

#[test]
fn python_reads_lines_and_flushes_what_it_prints() {
    let script = "import sys\nfor line in sys.stdin:\n    print(line.strip()[::-1], flush=True)";
    talks(&format!("\"python3\", \"-c\", [[\n{script}\n]]"), &[("abc", "cba"), ("über", "rebü")]);
}

#[test]
fn python_at_its_prompt_answers_unbuffered() {
    // What it prompts goes to standard error.
    let talk = [("print(6 * 7)", "42"), ("x = [n * n for n in range(4)]", ""), ("x", "[0, 1, 4, 9]")];
    talks("\"python3\", \"-i\", \"-q\", \"-u\"", &talk);
}

#[test]
fn perl_prints_at_once_when_it_is_told_to() {
    talks(
        "\"perl\", \"-ne\", [[$| = 1; print scalar reverse($_ =~ s/\\n//r), \"\\n\"]]",
        &[("abc", "cba"), ("x", "x")],
    );
}

#[test]
fn tcl_evaluates_what_it_is_sent() {
    let script = "fconfigure stdout -buffering line\nwhile {[gets stdin line] >= 0} { puts [expr $line] }";
    let rsp = front("", "exec { \"tclsh\", \"evaluate.tcl\" }").file("evaluate.tcl", script).start();
    let mut ws = WebSocket::open(&rsp.address(), "/");
    for (sent, heard) in [("6 * 7", "42"), ("max(3, 9, 4)", "9")] {
        ws.send(sent);
        assert_eq!(ws.text(), heard);
    }
}

#[test]
fn node_reads_lines_as_they_come() {
    let script = r#"require("readline").createInterface({ input: process.stdin })
        .on("line", (line) => console.log(JSON.stringify({ length: line.length, line })));"#;
    talks(
        &format!("\"node\", \"-e\", [[{script}]]"),
        &[("abc", r#"{"length":3,"line":"abc"}"#), ("猫", r#"{"length":1,"line":"猫"}"#)],
    );
}

#[test]
fn sed_edits_each_line_at_once() {
    talks("\"sed\", \"-u\", \"s/cat/dog/g\"", &[("cat and cat", "dog and dog"), ("none", "none")]);
}

#[test]
fn grep_lets_matching_lines_through_at_once() {
    talks("\"grep\", \"--line-buffered\", \"-n\", \"a\"", &[("abc", "1:abc"), ("xyz", ""), ("bca", "3:bca")]);
}

#[test]
fn mawk_reads_lines_as_they_come_when_it_is_told_to() {
    talks("\"mawk\", \"-W\", \"interactive\", \"{ print NR, $2 }\"", &[("one two", "1 two"), ("three four", "2 four")]);
}

#[test]
fn a_program_that_buffers_is_told_not_to_by_stdbuf() {
    // `tr` has no option for it.
    talks("\"stdbuf\", \"-oL\", \"tr\", \"a-z\", \"A-Z\"", &[("loud", "LOUD"), ("and louder", "AND LOUDER")]);
}

/// Starts a program and says each line to it; it answers with the other one, or with nothing where that is empty.
/// Whatever it prints, its end comes when the client leaves.
#[track_caller]
fn talks(words: &str, lines: &[(&str, &str)]) {
    let rsp = front("", &format!("exec {{ {words} }}")).start();
    let mut ws = WebSocket::open(&rsp.address(), "/");
    for (sent, heard) in lines {
        ws.send(sent);
        if !heard.is_empty() || sent.is_empty() {
            assert_eq!(ws.read(), Message::Text((*heard).to_owned()), "after {sent:?}");
        }
    }
    ws.close(1000);
    assert_eq!(ws.read(), Message::Close(1000, String::new()));
}
