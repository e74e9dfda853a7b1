//! One site's routes as a tree of segments in flat arrays: small for few routes, fast for many.

use std::{cmp::Ordering, ops::Range};

use http::Method;
use smallvec::SmallVec;

use super::{Path, Pattern, pattern::Shape};

/// One site's routes, immutable.
///
/// About 32 bytes a node and 48 a route beside its pattern's text and its value. A node's depth is the number of
/// segments it took, so a search visits each node at most once: it is linear in the site's routes at worst, whatever
/// the path, and no deeper than the longest pattern.
#[derive(Debug)]
pub struct Table<T> {
    /// The root first; children of a node are neighbours, literals in order, then the one for `{name}`.
    nodes: Box<[Node]>,
    /// In order of precedence, so that routes of one shape are neighbours.
    routes: Box<[Route<T>]>,
    /// The bytes of all literal segments.
    labels: Box<[u8]>,
}

/// What a table answers.
#[derive(Debug)]
pub enum Lookup<'t, T> {
    /// The route.
    Found(Match<'t, T>),
    /// 405: the path is known, its methods are these; `HEAD` is listed with `GET`.
    MethodNotAllowed(Vec<Method>),
    /// 404: no pattern matches.
    NotFound,
    /// 400: an upstream might read the path another way, and that would be another route.
    Ambiguous,
}

/// The route that was found.
#[derive(Debug)]
pub struct Match<'t, T> {
    /// What the table was built with.
    pub value: &'t T,
    /// What the `{name}` segments stood for.
    pub params: Params,
    /// The route's pattern.
    pub pattern: &'t Pattern,
}

/// The values of a pattern's names, decoded; bytes, for a path need not be UTF-8. It borrows nothing.
#[derive(Debug, Clone, Default)]
pub struct Params {
    pattern: Option<Pattern>,
    values: SmallVec<[Box<[u8]>; 2]>,
}

impl Params {
    /// The value of a name; never empty, never with a `/`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Names and values, from the left.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.pattern.iter().flat_map(Pattern::names).zip(self.values.iter().map(|value| &**value))
    }

    /// Whether the pattern has no names.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// Two routes that no request can tell apart, by their position in what [`Table::build`] was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// The earlier one.
    pub first: usize,
    /// The later one.
    pub second: usize,
}

impl<T> Table<T> {
    /// Builds the table; all conflicts at once, in order of the later route.
    ///
    /// Routes conflict when method and shape are the same; the names of parameters don't tell them apart.
    pub fn build(routes: Vec<(Option<Method>, Pattern, T)>) -> Result<Self, Vec<Conflict>> {
        let mut indexed: Vec<(usize, Route<T>)> =
            routes.into_iter().map(|(method, pattern, value)| Route { method, pattern, value }).enumerate().collect();
        indexed.sort_by(|(_, a), (_, b)| a.precedence(b));
        let mut conflicts: Vec<Conflict> = indexed
            .chunk_by(|(_, a), (_, b)| a.precedence(b).is_eq())
            .flat_map(|same| same[1..].iter().map(|(second, _)| Conflict { first: same[0].0, second: *second }))
            .collect();
        if !conflicts.is_empty() {
            conflicts.sort_by_key(|conflict| conflict.second);
            return Err(conflicts);
        }
        let routes: Box<[Route<T>]> = indexed.into_iter().map(|(_, route)| route).collect();
        let (nodes, labels) = build_tree(&routes);
        Ok(Self { nodes, routes, labels })
    }

    /// The most specific route for a request.
    ///
    /// Segments are compared from the left, a literal before `{name}` before `*`. The path decides before the method:
    /// where the best pattern has no route for the method, no other pattern is asked.
    pub fn find<'t>(&'t self, method: &Method, path: &Path<'_>) -> Lookup<'t, T> {
        let mut captures = Captures::new();
        let choice = self.choose(method, path.decoded(), &mut captures);
        if path.is_ambiguous() {
            let same = |reading: Option<Vec<u8>>| {
                reading.is_some_and(|path| self.choose(method, &path, &mut Captures::new()) == choice)
            };
            if !path.other_readings().all(same) {
                return Lookup::Ambiguous;
            }
        }
        match choice {
            Choice::Route(index) => Lookup::Found(found(&self.routes[index], &captures)),
            Choice::OtherMethods(routes) => Lookup::MethodNotAllowed(methods(&self.routes[routes])),
            Choice::Nothing => Lookup::NotFound,
        }
    }

    /// `path` starts with `/`.
    fn choose<'p>(&self, method: &Method, path: &'p [u8], captures: &mut Captures<'p>) -> Choice {
        let Some(routes) = self.search(0, path.get(1..), captures) else {
            return Choice::Nothing;
        };
        let position = |wanted: Option<&Method>| {
            let found = self.routes[routes.clone()].iter().position(|route| route.method.as_ref() == wanted);
            found.map(|offset| routes.start + offset)
        };
        let get = if method == Method::HEAD { position(Some(&Method::GET)) } else { None };
        match position(Some(method)).or(get).or_else(|| position(None)) {
            Some(index) => Choice::Route(index),
            None => Choice::OtherMethods(routes),
        }
    }

    /// The routes of the best shape below `node`; `rest` is what follows the next `/`, None at the path's end.
    fn search<'p>(&self, node: usize, rest: Option<&'p [u8]>, captures: &mut Captures<'p>) -> Option<Range<usize>> {
        let node = &self.nodes[node];
        let Some(rest) = rest else { return node.ends.found() };
        let (segment, after) = match memchr::memchr(b'/', rest) {
            Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
            None => (rest, None),
        };
        if let Some(child) = self.literal(node, segment)
            && let Some(found) = self.search(child, after, captures)
        {
            return Some(found);
        }
        if node.has_name && !segment.is_empty() {
            captures.push(segment);
            if let Some(found) = self.search(node.literals().end, after, captures) {
                return Some(found);
            }
            captures.pop();
        }
        node.rest.found()
    }

    fn literal(&self, node: &Node, segment: &[u8]) -> Option<usize> {
        let children = node.literals();
        let label = |child: &Node| {
            let start = child.label as usize;
            &self.labels[start..start + usize::from(child.label_length)]
        };
        let found = self.nodes[children.clone()].binary_search_by(|child| label(child).cmp(segment));
        found.ok().map(|offset| children.start + offset)
    }
}

/// What the names stood for on the way down; the best match's when a search has ended.
type Captures<'p> = SmallVec<[&'p [u8]; 4]>;

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Route(usize),
    OtherMethods(Range<usize>),
    Nothing,
}

#[derive(Debug)]
struct Route<T> {
    method: Option<Method>,
    pattern: Pattern,
    value: T,
}

impl<T> Route<T> {
    /// By shape, then a method before none.
    fn precedence(&self, other: &Self) -> Ordering {
        self.pattern.shape().cmp(other.pattern.shape()).then_with(|| self.method_key().cmp(&other.method_key()))
    }

    fn method_key(&self) -> (bool, &str) {
        (self.method.is_none(), self.method.as_ref().map_or("", Method::as_str))
    }

    fn segment(&self, depth: usize) -> Option<Shape<'_>> {
        self.pattern.shape().nth(depth)
    }
}

/// A place in the tree: some segments were taken. `u32` is enough for any site.
#[derive(Debug, Default)]
struct Node {
    label: u32,
    label_length: u16,
    has_name: bool,
    first_child: u32,
    literals: u32,
    /// Routes whose pattern ends here.
    ends: Routes,
    /// Routes whose `*` takes what is left.
    rest: Routes,
}

impl Node {
    fn literals(&self) -> Range<usize> {
        let first = self.first_child as usize;
        first..first + self.literals as usize
    }
}

/// A range of [`Table::routes`].
#[derive(Debug, Default)]
struct Routes {
    start: u32,
    count: u32,
}

impl Routes {
    fn new(range: Range<usize>) -> Self {
        Self { start: range.start as u32, count: range.len() as u32 }
    }

    fn found(&self) -> Option<Range<usize>> {
        let start = self.start as usize;
        (self.count > 0).then(|| start..start + self.count as usize)
    }
}

/// Level by level: routes are in order of shape, so those that share a segment are neighbours.
fn build_tree<T>(routes: &[Route<T>]) -> (Box<[Node]>, Box<[u8]>) {
    let mut labels = Vec::new();
    let mut nodes = vec![Node::default()];
    let mut below = vec![(0..routes.len(), 0)];
    let mut parent = 0;
    while let Some((range, depth)) = below.get(parent).cloned() {
        nodes[parent].first_child = nodes.len() as u32;
        let mut start = range.start;
        for same in routes[range].chunk_by(|a, b| a.segment(depth) == b.segment(depth)) {
            let range = start..start + same.len();
            start = range.end;
            let mut child = Node::default();
            match same[0].segment(depth) {
                None => nodes[parent].ends = Routes::new(range),
                Some(Shape::Rest) => nodes[parent].rest = Routes::new(range),
                Some(Shape::Name) => {
                    nodes[parent].has_name = true;
                    nodes.push(child);
                    below.push((range, depth + 1));
                }
                Some(Shape::Literal(text)) => {
                    child.label = labels.len() as u32;
                    child.label_length = text.len() as u16;
                    labels.extend_from_slice(text.as_bytes());
                    nodes[parent].literals += 1;
                    nodes.push(child);
                    below.push((range, depth + 1));
                }
            }
        }
        parent += 1;
    }
    (nodes.into(), labels.into())
}

fn found<'t, T>(route: &'t Route<T>, captures: &[&[u8]]) -> Match<'t, T> {
    let params = match captures {
        [] => Params::default(),
        _ => Params {
            pattern: Some(route.pattern.clone()),
            values: captures.iter().map(|value| Box::from(*value)).collect(),
        },
    };
    Match { value: &route.value, params, pattern: &route.pattern }
}

fn methods<T>(routes: &[Route<T>]) -> Vec<Method> {
    let mut methods: Vec<Method> = routes.iter().filter_map(|route| route.method.clone()).collect();
    if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
        methods.push(Method::HEAD);
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_stays_lean() {
        assert!(size_of::<Node>() <= 32);
        assert!(size_of::<Route<u32>>() <= 48);
        assert!(size_of::<Table<u32>>() <= 48);
    }
}
