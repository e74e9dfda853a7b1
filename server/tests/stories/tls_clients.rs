//! Clients that must show a certificate.
