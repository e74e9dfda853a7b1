//! `allow` and `deny`: who may pass, by address.

use rsp_core::config::Networks;

use crate::{
    error::{Fault, Kind},
    message::Request,
};

/// 403 for everybody who is not in `networks`.
pub fn allow(networks: &Networks, request: &Request) -> Result<(), Fault> {
    match networks.contains(request.client.ip) {
        true => Ok(()),
        false => Err(Fault::new(Kind::Forbidden, "not in allow")),
    }
}

/// 403 for everybody who is in `networks`.
pub fn deny(networks: &Networks, request: &Request) -> Result<(), Fault> {
    match networks.contains(request.client.ip) {
        true => Err(Fault::new(Kind::Forbidden, "in deny")),
        false => Ok(()),
    }
}
