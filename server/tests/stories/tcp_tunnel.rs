//! Listeners whose connections all go through a tunnel.
