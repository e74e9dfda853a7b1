//! Routes: keys, chains of filters and a handler, and routes that no request could tell apart.

use http::Method;

use super::{Checker, site::route_key};
use crate::{
    config::{
        checked::{Chain, Filter, Handler, Route},
        diagnostic::Diagnostic,
        options::{self, Kind},
        raw::{self, Item, Made, Span, Value},
        reader::found,
    },
    route::{Pattern, Table, parse_key},
};

impl Checker<'_> {
    /// The routes of one site; its array part is short for `["/*"]`.
    pub(super) fn routes(&mut self, made: &Made, is_passed: bool) -> Vec<Route> {
        let entries = made.arguments.entries.iter();
        let mut routes: Vec<(Route, Span)> = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(key) = route_key(entry) else { continue };
            self.limits.enter(made, key);
            match parse_key(key) {
                Ok((method, pattern)) => routes.extend(self.route(method, pattern, &entry.value, entry.span)),
                Err(error) => {
                    let message = format!("\"{}\" is no route: {error}", key.escape_debug());
                    self.reader.error(
                        entry.span,
                        message,
                        "for example \"/api/*\", \"/users/{id}\" or \"POST /login\"",
                    );
                }
            }
        }
        let items = made.arguments.items.as_slice();
        if let (Some(first), Ok(pattern)) = (items.first(), Pattern::parse("/*")) {
            let span = first.span;
            self.limits.enter(made, "/*");
            let chain = match items {
                [only] => self.chain(&only.value, span, &pattern),
                several => self.chain_of(several, span, &pattern),
            };
            routes.extend(chain.map(|chain| (Route { method: None, pattern, chain }, span)));
        }
        if routes.is_empty()
            && !is_passed
            && items.is_empty()
            && !made.arguments.entries.iter().any(|entry| route_key(entry).is_some())
        {
            let label = "for example [\"/*\"] = proxy \"127.0.0.1:3000\"";
            self.reader.report(Diagnostic::warning(
                made.span,
                "this site has no routes: every request gets 404",
                label,
            ));
        }
        self.told_apart(&routes);
        routes.into_iter().map(|(route, _)| route).collect()
    }

    fn route(&mut self, method: Option<Method>, pattern: Pattern, value: &Value, span: Span) -> Option<(Route, Span)> {
        let chain = self.chain(value, span, &pattern)?;
        Some((Route { method, pattern, chain }, span))
    }

    fn told_apart(&mut self, routes: &[(Route, Span)]) {
        if routes.len() < 2 {
            return;
        }
        let keys = routes.iter().map(|(route, _)| (route.method.clone(), route.pattern.clone(), ()));
        for conflict in Table::build(keys.collect()).err().unwrap_or_default() {
            let ((first, place), (second, span)) = (&routes[conflict.first], &routes[conflict.second]);
            let message = format!("no request can tell \"{}\" from \"{}\"", written(second), written(first));
            self.reader.report(Diagnostic::error(*span, message, "remove one of them").note(*place, "the other one"));
        }
    }

    /// A route's value: a handler, or an array of filters ending in one.
    fn chain(&mut self, value: &Value, span: Span, pattern: &Pattern) -> Option<Chain> {
        match value {
            Value::Made(made) => {
                let handler = self.last(made, span, pattern)?;
                Some(Chain { filters: Vec::new(), handler })
            }
            Value::Function(id) => Some(Chain { filters: Vec::new(), handler: Handler::Function(*id) }),
            Value::Table(raw::Table { items, entries }) => {
                if let Some(entry) = entries.first() {
                    let label = "a handler, or { filters…, handler }";
                    self.reader.error(entry.span, "a route's value has no options of its own", label);
                    return None;
                }
                self.chain_of(items, span, pattern)
            }
            other => {
                let message = format!("a route needs a handler, not {}", found(other));
                self.reader.error(span, message, "for example proxy \"127.0.0.1:3000\", or { filters…, handler }");
                None
            }
        }
    }

    fn chain_of(&mut self, items: &[Item], span: Span, pattern: &Pattern) -> Option<Chain> {
        let Some((last, before)) = items.split_last() else {
            self.reader.error(span, "a route needs a handler, not an empty table", "{ filters…, handler }");
            return None;
        };
        let filters: Vec<_> = before.iter().map(|item| self.filter_at(item, items)).collect();
        let handler = match &last.value {
            Value::Function(id) => Some(Handler::Function(*id)),
            Value::Made(made) if before.iter().any(|item| kind(&item.value) == Some(Kind::Handler)) => {
                // A filter down here is already said to stand behind the handler.
                (kind(&last.value) != Some(Kind::Filter)).then(|| self.last(made, last.span, pattern)).flatten()
            }
            Value::Made(made) => self.last(made, last.span, pattern),
            other => {
                self.not_in_chain(other, last.span);
                None
            }
        };
        Some(Chain { filters: filters.into_iter().collect::<Option<_>>()?, handler: handler? })
    }

    /// The handler at the end of a chain.
    fn last(&mut self, made: &Made, span: Span, pattern: &Pattern) -> Option<Handler> {
        match options::find(made.what).map(|constructor| constructor.kind) {
            Some(Kind::Handler) => self.handler(made, pattern),
            Some(Kind::Filter) => {
                let message = format!("`{}` is a filter; a route ends in a handler", made.what);
                self.reader.error(
                    span,
                    message,
                    format!("for example {{ {} …, proxy \"127.0.0.1:3000\" }}", made.what),
                );
                None
            }
            _ => {
                self.not_in_chain_made(made, span);
                None
            }
        }
    }

    /// What stands before the end of a chain.
    fn filter_at(&mut self, item: &Item, all: &[Item]) -> Option<Filter> {
        let made = match &item.value {
            Value::Function(id) => return Some(Filter::Function(*id)),
            Value::Made(made) => made,
            other => {
                self.not_in_chain(other, item.span);
                return None;
            }
        };
        match kind(&item.value) {
            Some(Kind::Filter) => self.filter(made),
            Some(Kind::Handler) => {
                let after = all.iter().skip_while(|other| !std::ptr::eq(*other, item)).nth(1);
                let after = after.map(|other| (other.span, kind(&other.value)));
                let error = match after {
                    Some((span, Some(Kind::Filter))) => {
                        let message = format!("filters after the handler `{}` would never run", made.what);
                        Diagnostic::error(span, message, "put the handler last").note(item.span, "the handler")
                    }
                    _ => {
                        let message = format!("`{}` is a handler; only the last value of a route is one", made.what);
                        Diagnostic::error(item.span, message, "a filter or a function here")
                    }
                };
                self.reader.report(error);
                None
            }
            _ => {
                self.not_in_chain_made(made, item.span);
                None
            }
        }
    }

    fn not_in_chain(&mut self, value: &Value, span: Span) {
        let message = format!("a route is made of filters and a handler, not of {}", found(value));
        let label = match value {
            Value::Table(_) => "one list, without tables inside",
            _ => "for example { allow \"10.0.0.0/8\", proxy \"127.0.0.1:3000\" }",
        };
        self.reader.error(span, message, label);
    }

    fn not_in_chain_made(&mut self, made: &Made, span: Span) {
        if let Some(constructor) = options::find(made.what).filter(|constructor| !constructor.landed) {
            self.reader.landed(constructor, span);
            return;
        }
        let label = match made.what {
            "upstream" => "write proxy(…) around it".to_owned(),
            _ => "a handler, or { filters…, handler }".to_owned(),
        };
        self.reader.error(span, format!("`{}` is no handler", made.what), label);
    }
}

fn kind(value: &Value) -> Option<Kind> {
    match value {
        Value::Made(made) => options::find(made.what).map(|constructor| constructor.kind),
        _ => None,
    }
}

fn written(route: &Route) -> String {
    match &route.method {
        Some(method) => format!("{method} {}", route.pattern),
        None => route.pattern.to_string(),
    }
}
