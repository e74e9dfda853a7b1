//! `rewrite`: another path for what follows.

use rsp_core::route::{Rewrite, RewriteError};

use crate::{
    error::{Fault, Kind},
    message::Request,
};

/// Gives the request its new path, of a target of `longest` bytes at most.
pub fn inward(rewrite: &Rewrite, request: &mut Request, longest: usize) -> Result<(), Fault> {
    match rewrite.apply(&request.head.target, longest) {
        Ok(None) => Ok(()),
        Ok(Some(target)) => {
            request.head.target = target;
            Ok(())
        }
        Err(e @ RewriteError::TooLong) => Err(Fault::new(Kind::UriTooLong, e.to_string())),
        Err(e @ (RewriteError::Malformed | RewriteError::Ambiguous)) => Err(Fault::new(Kind::Malformed, e.to_string())),
    }
}
