//! What the evaluation of a config file yields, before anything is checked.

/// A place in a source file: `file` indexes [`File::sources`]; lines and columns count from 1, columns in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span {
    /// Index into [`File::sources`].
    pub file: u32,
    /// First line is 1; 0 is "no place known" (a value that came from outside a file).
    pub line: u32,
    /// First byte of a line is 1; 0 underlines the whole line.
    pub column: u32,
    /// Bytes to underline; 0 underlines to the end of the line.
    pub length: u32,
}

/// A function in the file, numbered by order of construction; every worker that evaluates the file finds the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FunctionId(pub u32);

/// A value as the file wrote it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// Lua has one number type.
    Number(f64),
    /// A Lua string; not UTF-8 is an error at evaluation.
    Text(String),
    /// A function that will run on requests.
    Function(FunctionId),
    /// A plain table.
    Table(Table),
    /// What a constructor returned: `proxy { … }`, `upstream "x" { … }`.
    Made(std::sync::Arc<Made>),
}

/// A Lua table, in the order the source wrote it where that is known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// The array part, without holes (a hole is an error at evaluation).
    pub items: Vec<Item>,
    /// Everything else.
    pub entries: Vec<Entry>,
}

/// One value of the array part.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub span: Span,
}

/// One `key = value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Value,
    /// Where the key stands; the diagnostic underlines it.
    pub span: Span,
}

/// A key of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// `name = …` or `["name"] = …`
    Text(String),
    /// `[502] = …`
    Number(i64),
}

/// One call of a constructor: a statement, a handler, a filter or an upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The constructor's name as in the table of options: `"listen"`, `"site"`, `"proxy"`, `"limit"`.
    pub what: &'static str,
    /// What came first in two-step constructors: the name of `upstream "name" { … }`; the hosts and options of
    /// `site "host" { … }` or `site { "a", "b", listen = ":80" } { … }`. Empty for all others.
    pub name: Table,
    /// The arguments: positional ones are `items`, options are `entries`.
    pub arguments: Table,
    /// False for `upstream "name"` or `site "host"` that was never given its table; true for all others.
    pub complete: bool,
    /// Where the call stands.
    pub span: Span,
}

/// One source text that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The path as a person would name it.
    pub path: std::path::PathBuf,
    /// The text.
    pub text: std::sync::Arc<str>,
}

/// A whole evaluated config.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct File {
    /// Every statement (`listen`, `site`, `upstream`, …) in the order it ran; upstreams appear here too.
    pub statements: Vec<std::sync::Arc<Made>>,
    /// The texts, indexed by [`Span::file`]; the first is the config file itself.
    pub sources: Vec<Source>,
    /// How many functions the file built that run on requests.
    pub functions: u32,
    /// The original rsp's three globals, when the file made no statement: `listenPort`, `backendAddress`, `backendPort`.
    pub legacy: Option<[Option<Value>; 3]>,
}
