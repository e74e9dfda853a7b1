//! stub
#![allow(missing_docs)]
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Version};
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Empty,
    Length(u64),
    Chunked,
    UntilClose,
}
#[derive(Debug, Clone)]
pub struct Target(pub Bytes);
impl Target {
    pub fn new(raw: Bytes) -> Result<Self, String> {
        Ok(Self(raw))
    }
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    pub fn path(&self) -> &[u8] {
        self.0.split(|&b| b == b'?').next().unwrap_or_default()
    }
    pub fn query(&self) -> Option<&[u8]> {
        self.0.get(self.path().len() + 1..)
    }
}
#[derive(Debug, Clone)]
pub struct RequestHead {
    pub method: Method,
    pub target: Target,
    pub version: Version,
    pub headers: HeaderMap,
    pub framing: Framing,
    pub keep_alive: bool,
    pub upgrade: Option<HeaderValue>,
    pub expect_continue: bool,
}
#[derive(Debug, Default)]
pub struct ChunkedDecoder;
pub struct Decoded {
    pub consumed: usize,
    pub data: usize,
    pub done: bool,
}
impl ChunkedDecoder {
    pub fn decode(&mut self, _: &mut [u8]) -> Result<Decoded, String> {
        Err(String::new())
    }
    pub fn is_done(&self) -> bool {
        false
    }
    pub fn take_trailers(&mut self) -> Option<HeaderMap> {
        None
    }
}
pub fn chunk_header(_: usize) -> [u8; 3] {
    [0; 3]
}
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
pub fn write_trailers(_: &mut Vec<u8>, _: &HeaderMap) {}
