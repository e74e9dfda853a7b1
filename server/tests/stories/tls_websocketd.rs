//! `rsp exec --ssl`, beside websocketd's own.
