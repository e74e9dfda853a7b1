//! The original rsp's file: three globals that stand for `listen(":" .. listenPort)` and one proxy for everything.

use std::{net::Ipv6Addr, sync::Arc};

use super::Checker;
use crate::config::{
    checked::Config,
    raw::{File, Item, Made, Span, Table, Value},
};

const NAMES: [&str; 3] = ["listenPort", "backendAddress", "backendPort"];

impl Checker<'_> {
    /// Checks the three globals; a wrong type is said in the words of the original.
    pub(super) fn legacy(&mut self, globals: &[Option<Value>; 3]) -> Option<Config> {
        let mut texts = [""; 3];
        let mut right = true;
        for ((name, value), text) in NAMES.iter().zip(globals).zip(&mut texts) {
            let Some(Value::Text(value)) = value else {
                self.reader.error(Span::default(), format!("{name} must be a string"), "");
                right = false;
                continue;
            };
            if name.ends_with("Port") && value.parse::<u16>().map_or(true, |port| port == 0) {
                let message = format!("{name} must be a port: \"{}\"", value.escape_debug());
                self.reader.error(Span::default(), message, "a number from 1 to 65535, in quotes");
                right = false;
            }
            *text = value;
        }
        if !right {
            return None;
        }
        let [listen_port, address, port] = texts;
        let host = address.parse::<Ipv6Addr>().map_or(address.to_owned(), |ip| format!("[{ip}]"));
        let listen = made("listen", Table::default(), Value::Text(format!(":{listen_port}")));
        let proxy = made("proxy", Table::default(), Value::Text(format!("{host}:{port}")));
        let any = Table { items: vec![item(Value::Text("*".to_owned()))], ..Table::default() };
        let site = made("site", any, Value::Made(Arc::new(proxy)));
        self.file(&File { statements: vec![Arc::new(listen), Arc::new(site)], ..File::default() })
    }
}

fn made(what: &'static str, name: Table, argument: Value) -> Made {
    let arguments = Table { items: vec![item(argument)], ..Table::default() };
    Made { what, name, arguments, complete: true, span: Span::default() }
}

fn item(value: Value) -> Item {
    Item { value, span: Span::default() }
}
