//! stub
use crate::{error::Fault, message::Request};
use rsp_core::config::{self, FunctionId, Limits, Upstream, raw};
use rsp_core::route::Params;
use std::{collections::HashMap, path::Path, sync::Arc};
pub struct Loaded {
    pub file: raw::File,
    pub sources: Sources,
}
pub struct Sources;
pub struct Failed(String);
impl Failed {
    pub fn render(&self) -> String {
        self.0.clone()
    }
}
pub fn load(path: &Path) -> Result<Loaded, Failed> {
    let text = std::fs::read_to_string(path).map_err(|e| Failed(e.to_string()))?;
    load_text(&text, path)
}
pub fn load_text(text: &str, _folder: &Path) -> Result<Loaded, Failed> {
    let mut m: HashMap<String, String> = HashMap::new();
    for l in text.lines() {
        if let Some((k, v)) = l.split_once('=') {
            m.insert(k.trim().into(), v.trim().trim_matches('"').into());
        }
    }
    let g = |k: &str| m.get(k).cloned().map(raw::Value::Text);
    Ok(Loaded {
        file: raw::File {
            legacy: Some([g("listenPort"), g("backendAddress"), g("backendPort")]),
            sources: vec![raw::Source { path: "x".into(), text: Arc::from(text) }],
            ..Default::default()
        },
        sources: Sources,
    })
}
pub fn legacy_prefix(_: &raw::File) -> String {
    String::new()
}
pub struct Engine;
pub enum Outcome {
    Handler(config::Handler),
    Next,
}
pub struct Visit<'a> {
    pub site: &'a str,
    pub route: &'a str,
    pub params: &'a Params,
}
impl Engine {
    pub fn new(_: &Sources, _: u32, _: &Limits, _: Vec<Arc<Upstream>>) -> Result<Self, Failed> {
        Ok(Self)
    }
    pub async fn call(&self, _: FunctionId, r: Request, _: Visit<'_>) -> (Request, Result<Outcome, Fault>) {
        (r, Ok(Outcome::Next))
    }
}
