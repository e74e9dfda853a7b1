//! Certificates from an ACME authority that runs on this machine.
